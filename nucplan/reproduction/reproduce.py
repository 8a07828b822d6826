"""Run the benchmark of a manifest again, apart from everything that is there, and say what differs first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.layout import Dataset
from nucplan.progress import Progress, silent
from nucplan.reproduction.difference import TOLERANCE, WORDS, differences, first_difference, score_differences
from nucplan.reproduction.environment import code, environment
from nucplan.reproduction.grid import FILE_NAME, grid
from nucplan.reproduction.hashes import raw_hashes
from nucplan.reproduction.manifest import manifest_of, overrides, plans_and_splits
from nucplan.workflow.local import run_jobs
from nucplan.workflow.study import Study

# What may be wanted to differ, or follows from that; stock nnU-Net draws without a seed.
NOTES = ("command", "code", "environment", "commands", "planning", "reference")
# Results cannot agree where one of these differs.
GROUND = ("format", "raw", "study", "plans", "splits")
OUTCOMES = ("results", "reference", "choices")
# Decisions that follow from memory, cores and kind of a device; another machine is told those of the first one.
OF_THE_MACHINE = ("network_width", "patch_size", "batch_size", "iterations")
ORIGINAL, VERDICT = "original.json", "reproduction.json"


def reproduce(
    original: Mapping[str, Any],
    study: Study,
    sources: Sequence[Dataset],
    at_once: int = 1,
    report: Callable[[str], None] = lambda _line: None,
    progress: Progress = silent,
) -> Path:
    """Run ``study``, which is that of the manifest in roots of its own, and compare.

    What an interrupted reproduction finished is kept.

    Parameters
    ----------
    original
        The manifest.
    study
        Its ``output`` is a folder inside that of the reproduction, beside ``root``.
    sources
        The raw datasets, in the order of ``study.read``; they are linked, not copied, and not written to.

    Returns
    -------
    Path
        ``reproduction.json`` with all comparisons, in the folder of the reproduction.

    Raises
    ------
    NucplanError
        If anything differs that the results depend on, a result differs, or a job fails; the first difference is
        named.
    """
    folder = study.output.parent
    _refuse_another(folder, original)
    here = environment(study.device)
    raw = {dataset.folder_name: raw_hashes(dataset, progress) for dataset in sources}
    known = {name: part for name, part in original.items() if name not in OUTCOMES}
    repeated = {**known, "environment": here, "raw": raw, "study": grid(study), "code": code()}
    # Nothing is written where it is known that results cannot agree.
    _stop_at(first_difference(original, repeated, GROUND))
    for note in differences(original, repeated, ("code", "environment")):
        report(f"note: {note}")
    write_json(folder / ORIGINAL, original)
    _link(study.read, sources)
    _plan(original, study, at_once, report, here != original["environment"])
    repeated |= plans_and_splits(study.datasets)
    if first_difference(original, repeated, GROUND) is None:
        jobs = [job for job in study.jobs() if job.outputs != (study.output / FILE_NAME,)]
        # A training that fails is a difference like others, unless it failed in the manifest as well.
        outcome = run_jobs(jobs, at_once, study.output / "logs", report)
        _refuse_failed(name for name in outcome.failed if not name.startswith("train/"))
        repeated = manifest_of(study, progress, raw)
        write_json(study.output / FILE_NAME, repeated)
    return _conclude(folder, original, repeated)


def _refuse_another(folder: Path, original: Mapping[str, Any]) -> None:
    known = folder / ORIGINAL
    if known.is_file() and read_json(known) != original:
        raise NucplanError(f"{folder} holds the reproduction of another manifest; name another --output.")


def _refuse_failed(names: Iterable[str]) -> None:
    failed = ", ".join(names)
    if failed:
        raise NucplanError(f"{failed} failed in the reproduction; see its log, the same command goes on.")


def _stop_at(difference: str | None) -> None:
    if difference is not None:
        raise NucplanError(f"Results cannot be equal, because of {difference}; nothing was run.")


def _link(datasets: Sequence[Dataset], sources: Sequence[Dataset]) -> None:
    for dataset, source in zip(datasets, sources, strict=True):
        dataset.raw.parent.mkdir(parents=True, exist_ok=True)
        # The data may have moved since an interruption.
        dataset.raw.unlink(missing_ok=True)
        dataset.raw.symlink_to(source.raw.resolve(), target_is_directory=True)


def _plan(
    original: Mapping[str, Any], study: Study, at_once: int, report: Callable[[str], None], other_machine: bool
) -> None:
    settings = {dataset.folder_name: dict(overrides(original, dataset.folder_name)) for dataset in study.datasets}
    _run_planning(study, settings, at_once, report)
    changed = [dataset for dataset in study.datasets if other_machine and _other_plan(original, dataset)]
    for dataset in changed:
        report(f"note: {dataset.folder_name} is planned as on the machine of the manifest")
        planned = original["plans"].get(dataset.folder_name, {})
        settings[dataset.folder_name] |= {name: planned[name] for name in OF_THE_MACHINE if name in planned}
        dataset.plans().unlink()
    if changed:
        _run_planning(study, settings, at_once, report)


def _other_plan(original: Mapping[str, Any], dataset: Dataset) -> bool:
    return first_difference(original, original | plans_and_splits([dataset]), ("plans",)) is not None


def _run_planning(
    study: Study, settings: Mapping[str, Mapping[str, Any]], at_once: int, report: Callable[[str], None]
) -> None:
    known, jobs = {job.name: job for job in study.jobs()}, []
    for name, decisions in settings.items():
        job = known[f"plan/{name}"]
        options = (f"--set={decision}={json.dumps(value)}" for decision, value in decisions.items())
        jobs.append(replace(job, command=(*job.command, *options)))
    outcome = run_jobs(jobs, at_once, study.output / "logs", report)
    if not outcome.complete:
        name, reason = next(iter(outcome.failed.items()))
        raise NucplanError(f"{name} failed in the reproduction: {reason}; the same command goes on.")


def _conclude(folder: Path, original: Mapping[str, Any], repeated: Mapping[str, Any]) -> Path:
    on_gpu = "cuda" in (original["environment"].get("device"), repeated["environment"]["device"])
    tolerance = TOLERANCE if on_gpu else None
    # Tables hold more digits than a tolerance on scores can speak of; what was not run has no outcome.
    left_out = (*NOTES, "choices") if on_gpu else NOTES
    counted = [name for name in WORDS if name in repeated and name not in left_out]
    found = list(differences(original, repeated, counted, tolerance))
    verdict = {
        "agrees": not found,
        "compared": f"scores within {TOLERANCE}" if on_gpu else "bit for bit",
        "first_difference": found[0] if found else None,
        "differences": found,
        "notes": list(differences(original, repeated, [name for name in NOTES if name in repeated])),
        "largest_score_differences": score_differences(original, repeated),
    }
    write_json(folder / VERDICT, verdict)
    if found:
        raise NucplanError(f"The reproduction differs first in {found[0]}; all comparisons: {folder / VERDICT}.")
    return folder / VERDICT
