"""What every command shares: the common options, one sentence on bad input, the exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from nucplan.cli.time_limit import TimeIsOver, ended_by_scheduler
from nucplan.errors import NucplanError
from nucplan.files import FULL
from nucplan.progress import progress as progress

EXIT_BAD_INPUT = 2
# EX_TEMPFAIL: what schedulers are told to take as "start it again".
EXIT_AGAIN = 75
EXIT_INTERRUPTED = 130
# What a shell says of a program that SIGPIPE ended.
EXIT_PIPE = 141


def parser(prog: str, description: str, examples: str, root: bool = True) -> argparse.ArgumentParser:
    """An argument parser with a description, the examples below the options, and ``--root`` where it has a meaning."""
    made = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # A shortened option would mean another one as soon as there is a longer one.
        allow_abbrev=False,
    )
    if root:
        made.add_argument(
            "--root",
            metavar="FOLDER",
            help="where all data live (default: the nnUNet_* variables, else $NUCPLAN_ROOT, else ./nucplan_data)",
        )
    return made


def add_device(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU where there is one"
    )


def numbers(option: str, text: str, highest: int | None = None, lowest: int = 0) -> tuple[int, ...]:
    """The numbers of an option like ``0,1,2``, in ascending order.

    Raises
    ------
    NucplanError
        If it is no list of different numbers from ``lowest`` to ``highest``.
    """
    parts = [part.strip() for part in text.split(",")]
    found = sorted({int(part) for part in parts if part.isdecimal()})
    if len(found) < len(parts) or found[0] < lowest or (highest is not None and found[-1] > highest):
        up_to = "" if highest is None else f" from {lowest} to {highest}"
        example = f"{lowest},{lowest + 1}"
        raise NucplanError(f"{option} {text} is not a list of different numbers{up_to}; give it like {example}.")
    return tuple(found)


GOES_ON = "what was finished is kept, the same command goes on from there"


def run(
    command: Callable[[argparse.Namespace], None],
    made: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    stopped: str = GOES_ON,
) -> int:
    """Parse ``argv``, run ``command`` and return its exit code.

    0, 2 for bad input, 75 after SIGTERM, SIGUSR1 or SIGHUP (the machine is taken back), 130 after Ctrl-C.
    ``stopped`` says what is left after either.
    """
    arguments = made.parse_args(argv)
    # OpenMP threads that spin for long while they wait stall each other as soon as two programs share the cores.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        with ended_by_scheduler():
            command(arguments)
        sys.stdout.flush()
    except NucplanError as error:
        print(f"{made.prog}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:
        # The reader of a pipe, such as head, has seen enough; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except OSError as error:
        print(f"{made.prog}: {_sentence(error)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except (KeyboardInterrupt, TimeIsOver) as stop:
        print(f"\n{made.prog}: stopped; {stopped}.", file=sys.stderr)
        return EXIT_AGAIN if isinstance(stop, TimeIsOver) else EXIT_INTERRUPTED
    return 0


def _sentence(error: OSError) -> str:
    """What the system refused: a path that is a file, a folder that may not be read, a full disk."""
    # Not every OSError has a path or a number: a full disk names no file, a library may raise a text alone.
    problem = error.strerror or " ".join(str(error).split()) or type(error).__name__
    if error.filename is not None:
        problem = f"{error.filename} cannot be read or written: {problem}"
    return f"{problem}; free space or raise the quota there." if error.errno in FULL else f"{problem}."
