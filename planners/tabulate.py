"""Plans side by side, as the Markdown table of ``docs/planning.md``: ``python -m planners.tabulate DATASET ...``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from nucplan.cli import common
from nucplan.files import read_json
from nucplan.layout import Dataset, find_dataset, resolve_roots

Row = Callable[[dict[str, Any], dict[str, Any]], str]


def table(datasets: Sequence[Dataset]) -> str:
    """One column per planned dataset: what was measured, what was decided, what the labels can give back."""
    read = [(read_json(d.fingerprint), read_json(d.plans())["nucplan"]["decisions"]) for d in datasets]
    lines = ["| | " + " | ".join(d.name for d in datasets) + " |", "|---|" + "---|" * len(datasets)]
    lines += [f"| {title} | " + " | ".join(row(*pair) for pair in read) + " |" for title, row in ROWS.items()]
    return "\n".join(lines)


def _value(name: str, form: Callable[[Any], str] = str) -> Row:
    def cell(_: dict[str, Any], decisions: dict[str, Any]) -> str:
        # A star marks a rule that could not do what the data ask for.
        return form(decisions[name]["value"]) + ("*" if "limit" in decisions[name] else "")

    return cell


def _ceiling(decoder: str) -> Row:
    def cell(_: dict[str, Any], decisions: dict[str, Any]) -> str:
        return _pair(decisions["oracle_ceiling"]["from"]["ceilings"][decoder])

    return cell


def _other_ceiling(name: str) -> Row:
    def cell(_: dict[str, Any], decisions: dict[str, Any]) -> str:
        return _pair(decisions["oracle_ceiling"]["from"][name])

    return cell


def _pair(ceiling: dict[str, float]) -> str:
    return f"{ceiling['clean']:.3f} / {ceiling['blurred']:.3f}"


ROWS: dict[str, Row] = {
    "images, nuclei": lambda f, d: f"{len(f['cases'])}, {f['nuclei']:,}",
    "diameter 5 / 25 / 50 / 75 / 95 %, px": lambda f, d: " / ".join(f"{v:.1f}" for v in f["diameter_px"].values()),
    "touching T": lambda f, d: f"{f['touching_share']:.0%}",
    "contact length": lambda f, d: f"{f['contact_length_share']:.1%}",
    "nuclei per 256 x 256, median / p99": lambda f, d: " / ".join(f"{v:.0f}" for v in f["nuclei_per_256x256"].values()),
    "in several pieces, specks": lambda f, d: f"{f['faults']['pieces']}, {f['faults']['specks']}",
    "scale": _value("scale"),
    "planned diameter, px": lambda f, d: f"{d['decoder']['value']['diameter']:.1f}",
    "patch, px": _value("patch_size", lambda v: str(v[0])),
    "batch": _value("batch_size"),
    "tile overlap, px": _value("tile_overlap"),
    "kernel k": _value("boundary_kernel"),
    "kernel k_w": _value("weight_kernel"),
    "**β**": _value("boundary_beta", lambda v: f"{v:.2f}"),
    "heads at strides": _value("boundary_scales", ", ".join),
    "pos_weight": _value("boundary_pos_weight"),
    "normalisation": _value("normalization", lambda v: v[0].removesuffix("Normalization")),
    "standard iterations": _value("iterations", lambda v: f"{v['standard']:,}"),
    "queries": _value("queries"),
    "decoder": _value("decoder", lambda v: v["name"]),
    "**ceiling** of it": _value("oracle_ceiling", lambda v: f"**{v:.3f}**"),
    "boundary, clean / blurred": _ceiling("boundary"),
    "tempered": _ceiling("tempered"),
    "interior": _ceiling("interior"),
    "distance (foreground alone)": _ceiling("distance"),
    "core and border (acvl_utils)": _other_ceiling("core_border"),
    "constants made for 40x": _other_ceiling("fixed_40x"),
}


def _command(arguments: argparse.Namespace) -> None:
    roots = resolve_roots(arguments.root)
    print(table([find_dataset(roots, name) for name in arguments.datasets]))


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("planners.tabulate", "Print the plans of datasets side by side.", "  ... 2 3 4")
    made.add_argument("datasets", metavar="DATASET", nargs="+", help="id or name of a planned dataset")
    return common.run(_command, made, argv)


if __name__ == "__main__":
    raise SystemExit(main())
