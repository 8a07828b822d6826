"""``nucplan_benchmark``: the whole experiment on any number of datasets, as jobs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.cli.encoder_options import add_encoder, requested_encoder
from nucplan.errors import NucplanError
from nucplan.layout import FINAL, FOLDS
from nucplan.schedule import BUDGETS
from trainers import COMPARED, trainer_name

if TYPE_CHECKING:
    from nucplan.layout import Dataset, Roots
    from nucplan.workflow.jobs import Job
    from nucplan.workflow.local import Outcome
    from nucplan.workflow.pretrained import Pretrained
    from nucplan.workflow.study import Study

# Of the adapter of CellVTA.
INTERACTIONS = 4
EXAMPLES = """\
  nucplan_benchmark Tissue TNBC --budget quick         plan, train and compare on this machine
  nucplan_benchmark Tissue --reference nnunet          stock nnU-Net in the same table
  nucplan_benchmark Tissue --transfer-to TNBC          how the models of Tissue do on TNBC, on which none was trained
  nucplan_benchmark Tissue --configs baseline,cellvta --encoder uni --weights uni.bin   with a pretrained encoder
  nucplan_benchmark Tissue --dry-run                   the jobs, what is done and how long the others take
  nucplan_benchmark Tissue --device cuda --print-sbatch > array.sh   the same jobs as SLURM arrays
  nucplan_benchmark Tissue --device cuda --executor slurm            the same jobs, submitted to SLURM one by one
  nucplan_benchmark --reproduce manifest.json          run it again and say what differs first"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser(
        "nucplan_benchmark",
        "Plan datasets, train every config on every fold, and compare the configs out of fold. What is done is kept: "
        "after an interruption or a failure the same command goes on.",
        EXAMPLES,
    )
    made.add_argument("datasets", metavar="DATASET", nargs="*", help="id or name")
    made.add_argument(
        "--configs", metavar="A,B", default=",".join(COMPARED), help="the first is the baseline (default: %(default)s)"
    )
    made.add_argument("--folds", metavar="0,1", default=",".join(map(str, FOLDS)), help="default: %(default)s")
    made.add_argument("--seeds", metavar="0,1", default="0", help="default: %(default)s")
    length = made.add_mutually_exclusive_group()
    length.add_argument("--budget", choices=BUDGETS, default="standard", help="default: %(default)s")
    length.add_argument("--iterations", type=int, metavar="N", help="train N iterations instead")
    made.add_argument("--reference", choices=("nnunet",), help="train stock nnU-Net on core and border labels as well")
    made.add_argument(
        "--native-resolution", action="store_true", help="plan at the scale of the images: none is enlarged"
    )
    add_encoder(made)
    made.add_argument(
        "--injection-blocks", metavar="1,2", help="train the config cellvta with these interactions (default: all four)"
    )
    made.add_argument(
        "--transfer-to", metavar="B,C", help="score the models of each dataset on these as well (ids or names)"
    )
    made.add_argument("--output", metavar="FOLDER", type=Path, help="report and logs (default: in the results)")
    made.add_argument("--jobs", type=int, metavar="N", help="so many at a time (default: 1 here, all on a cluster)")
    made.add_argument(
        "--executor", choices=("local", "slurm"), default="local", help="run the jobs here, or submit them to SLURM"
    )
    made.add_argument("--profile", metavar="FOLDER", type=Path, help="a Snakemake profile, for any other cluster")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="list the jobs and run nothing")
    how.add_argument("--index", type=int, metavar="I", help="run job I of the list alone")
    how.add_argument("--manifest", action="store_true", help="write manifest.json of what there is and run nothing")
    how.add_argument("--reproduce", metavar="FILE", type=Path, help="run the benchmark of a manifest.json and compare")
    how.add_argument("--print-sbatch", action="store_true", help="print a script that submits the jobs to SLURM")
    common.add_device(made)
    made.set_defaults(words=sys.argv[1:] if argv is None else list(argv))
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.workflow.arrays import job_at, sbatch_script

    if arguments.reproduce is not None:
        from nucplan.cli.reproduction import run_again

        run_again(arguments, _study)
        return
    study = _study(arguments)
    if arguments.manifest:
        _write_manifest(study)
        return
    jobs = study.jobs()
    # Of a job that runs alone its own folder counts: another one that does not fit is a hole in the report.
    _refuse_unfit(jobs if arguments.index is None else [job_at(jobs, arguments.index)])
    if arguments.dry_run:
        print(_listing(study, jobs))
    elif arguments.print_sbatch:
        words = [word for word in arguments.words if word != "--print-sbatch"]
        print(sbatch_script(jobs, ["nucplan_benchmark", *words]))
    elif arguments.index is not None:
        _run_one(job_at(jobs, arguments.index), jobs, study.output)
    elif arguments.executor == "slurm" or arguments.profile is not None:
        _refuse_no_room(study, jobs)
        _run_by_engine(jobs, arguments, study.output)
    else:
        _refuse_no_room(study, jobs)
        _run_all(jobs, arguments.jobs or 1, study.output)


def _study(arguments: argparse.Namespace) -> Study:
    from nucplan.layout import find_dataset, resolve_roots
    from nucplan.workflow.study import Study
    from trainers.out_of_fold.runs import STOCK_MODEL

    if not arguments.datasets:
        raise NucplanError("No dataset was given; name one or several, or give --reproduce a manifest.")
    submits = {"--print-sbatch": arguments.print_sbatch, "--executor slurm": arguments.executor == "slurm"}
    option = next((name for name, given in (submits | {"--profile": arguments.profile}).items() if given), None)
    if option is not None and arguments.device == "auto":
        raise NucplanError(f"{option} asks for GPUs or not as --device says; add --device cuda or --device cpu.")
    folds, seeds = common.numbers("--folds", arguments.folds, FOLDS[-1]), common.numbers("--seeds", arguments.seeds)
    for name, value in (("--jobs", arguments.jobs), ("--iterations", arguments.iterations)):
        if value is not None and value < 1:
            raise NucplanError(f"{name} {value} is less than 1; give a positive number.")
    configs = arguments.configs.split(",")
    trainers = {config: trainer_name(config) for config in configs}
    if len(trainers) < len(configs):
        raise NucplanError(f"--configs {arguments.configs} names a config twice; give each once.")
    roots = resolve_roots(arguments.root)
    datasets = tuple(find_dataset(roots, name) for name in arguments.datasets)
    targets = _targets(roots, arguments.transfer_to)
    absent = next((dataset for dataset in [*datasets, *targets] if not dataset.dataset_json.is_file()), None)
    if absent is not None:
        raise NucplanError(f"{absent.dataset_json} is missing; make the dataset with nucplan_convert.")
    # Files are compared once, not in each job of a cluster.
    _refuse_transfers(datasets, targets, compare=arguments.index is None)
    encoder = _encoder(arguments)
    output = arguments.output or roots.results / "benchmarks" / "_".join(dataset.folder_name for dataset in datasets)
    return Study(
        datasets,
        trainers,
        output,
        folds=folds,
        seeds=seeds,
        budget=arguments.budget,
        iterations=arguments.iterations,
        reference=STOCK_MODEL if arguments.reference else None,
        device=arguments.device,
        root=arguments.root,
        native_resolution=arguments.native_resolution,
        injection_blocks=_injection_blocks(arguments.injection_blocks, configs, datasets),
        transfer_to=targets,
        encoders={} if encoder is None else {dataset.folder_name: encoder for dataset in datasets},
    )


def _encoder(arguments: argparse.Namespace) -> Pretrained | None:
    """The pretrained encoder to plan for, once its files are known to be there."""
    from nucplan.networks.encoders.registry import find_card
    from nucplan.workflow.pretrained import Pretrained

    request = requested_encoder(arguments)
    if request is None:
        return None
    find_card(request.name)
    for option, path in (("--marker-embeddings", request.marker_embeddings), ("--marker-table", request.marker_table)):
        if path is not None and not path.exists():
            raise NucplanError(f"{option} {path} does not exist; check the path.")
    return Pretrained.of_request(request)


def _targets(roots: Roots, names: str | None) -> tuple[Dataset, ...]:
    from nucplan.layout import find_dataset

    found = tuple(find_dataset(roots, name) for name in names.split(",")) if names is not None else ()
    if len(set(found)) < len(found):
        raise NucplanError(f"--transfer-to {names} names a dataset twice; give each once.")
    return found


def _refuse_transfers(datasets: Sequence[Dataset], targets: Sequence[Dataset], compare: bool) -> None:
    """Before any work: a dataset without another one to be scored by, images that the models cannot read or know."""
    if not targets:
        return
    from nucplan.datasets.raw import RawDataset
    from nucplan.workflow.transfer import refuse_shared, refuse_unfit

    raw = {dataset: RawDataset(dataset) for dataset in [*datasets, *targets]}
    for target in targets:
        sources = [dataset for dataset in datasets if dataset != target]
        if not sources:
            raise NucplanError(
                f"--transfer-to {target.name} is the dataset that is trained on; name another one than {target.name}."
            )
        for source in sources:
            refuse_unfit(raw[source], raw[target])
            if compare:
                refuse_shared(raw[source], raw[target])


def _injection_blocks(text: str | None, configs: Sequence[str], datasets: Sequence[Dataset]) -> tuple[int, ...] | None:
    """None for all, which are trained where nothing else is asked for."""
    from nucplan.files import read_json
    from nucplan.plans import overridden
    from nucplan.workflow.names import ADAPTED

    if text is None:
        return None
    blocks = common.numbers("--injection-blocks", text, INTERACTIONS, lowest=1)
    if ADAPTED not in configs:
        raise NucplanError(f"--injection-blocks is about the config {ADAPTED}; add it to --configs, or leave it out.")
    for dataset in datasets:
        if dataset.plans().is_file() and "adapter" in overridden(read_json(dataset.plans())):
            raise NucplanError(
                f"{dataset.plans()} has an adapter that you set, and --injection-blocks {text} is another word on it; "
                "leave the option out, or plan without that setting."
            )
    return None if len(blocks) == INTERACTIONS else blocks


def _write_manifest(study: Study) -> None:
    from nucplan.files import write_json
    from nucplan.reproduction.grid import FILE_NAME
    from nucplan.reproduction.manifest import manifest_of

    write_json(study.output / FILE_NAME, manifest_of(study, common.progress))
    print(study.output / FILE_NAME)


def _refuse_unfit(jobs: Sequence[Job]) -> None:
    """Before any work: jobs that are twice in the list, and folders that hold something else."""
    from nucplan.workflow.jobs import prerequisites

    prerequisites(jobs)
    reason = next(filter(None, (job.refused_because() for job in jobs)), None)
    if reason is not None:
        raise NucplanError(reason)


def _refuse_no_room(study: Study, jobs: Sequence[Job]) -> None:
    """Before any work that is left: folders that cannot be written, a disk too full for what will be trained."""
    from nucplan.files import free_bytes, refuse_unwritable
    from trainers.checkpoint_size import LARGEST_BYTES, bytes_to_come

    left = [job for job in jobs if not job.done]
    if not left:
        return
    for folder in [study.output, *(part for each in study.datasets for part in (each.preprocessed, each.results))]:
        refuse_unwritable(folder)
    results = study.datasets[0].roots.results
    checkpoints, free = [path for job in left for path in job.outputs if path.name == FINAL], free_bytes(results)
    if LARGEST_BYTES * (len(checkpoints) + len(study.datasets)) <= free:
        return
    by_dataset = [[path for path in checkpoints if path.is_relative_to(each.results)] for each in study.datasets]
    needed = sum(bytes_to_come(each, of) for each, of in zip(study.datasets, by_dataset, strict=True))
    if needed > free:
        raise NucplanError(
            f"{results} has {free / 2**30:.2f} GiB left, and the checkpoints of {len(checkpoints)} trainings take "
            f"about {needed / 2**30:.2f} GiB; free some space or choose another --root."
        )


def _listing(study: Study, jobs: Sequence[Job]) -> str:
    """A line per job: its number, its expected time or that it is done, its name and why it runs; the time of all."""
    reasons = [job.unfinished_because() for job in jobs]
    open_jobs = [job for job, reason in zip(jobs, reasons, strict=True) if reason is not None]
    lines = [
        f"{i:>4}  {'done' if reason is None else _minutes(job.seconds):>9}  {job.name}"
        + ("" if reason is None else f"  ({_short(reason, study)})")
        for i, (job, reason) in enumerate(zip(jobs, reasons, strict=True))
    ]
    known = sum(job.seconds for job in open_jobs if job.seconds is not None)
    unknown = sum(job.seconds is None for job in open_jobs)
    total = f"{len(jobs)} jobs, {len(jobs) - len(open_jobs)} done"
    if open_jobs:
        times = [_minutes(known)] if known else []
        times += [f"an unknown time for {unknown} of them"] if unknown else []
        total += f"; the others take {' and '.join(times)}"
    return "\n".join([*lines, total])


def _short(reason: str, study: Study) -> str:
    """The reason with paths as they are within the folders of nnU-Net and the output."""
    roots = study.datasets[0].roots
    for folder in (study.output, roots.raw, roots.preprocessed, roots.results):
        reason = reason.replace(f"{folder}{os.sep}", "")
    return reason


def _minutes(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds / 60:.0f} min"


def _run_one(job: Job, jobs: Sequence[Job], output: Path) -> None:
    from nucplan.workflow.jobs import prerequisites
    from nucplan.workflow.local import run_jobs

    for other in () if job.anyway else prerequisites(jobs)[job.name]:
        reason = other.unfinished_because()
        if reason is not None:
            raise NucplanError(f"{job.name} needs {other.name}, which is not done: {reason}; run that job first.")
    _settle(run_jobs([job], 1, output / "logs", print), output)


def _run_all(jobs: Sequence[Job], at_once: int, output: Path) -> None:
    from nucplan.workflow.local import run_jobs

    _settle(run_jobs(jobs, at_once, output / "logs", print), output)


def _run_by_engine(jobs: Sequence[Job], arguments: argparse.Namespace, output: Path) -> None:
    from nucplan.workflow.engine import Engine, run_by_engine

    executor = None if arguments.executor == "local" else arguments.executor
    engine = Engine(executor, arguments.profile, arguments.jobs)
    _settle(run_by_engine(jobs, ["nucplan_benchmark", *arguments.words], engine, output, print), output)


def _settle(outcome: Outcome, output: Path) -> None:
    """Say what became of the jobs; a failure is an error of the command."""
    print(f"{len(outcome.finished)} jobs done now, {len(outcome.kept)} done before: {output}")
    if not outcome.complete:
        waiting = f"; {len(outcome.waiting)} more wait for them" if outcome.waiting else ""
        raise NucplanError(
            f"{len(outcome.failed)} jobs failed ({', '.join(outcome.failed)}){waiting}; the same command goes on."
        )
