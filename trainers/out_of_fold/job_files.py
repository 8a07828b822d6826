"""What a job of a benchmark left for the report, where it is of the very networks that are reported on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nucplan.files import read_json
from nucplan.inference.choice import weights_of
from nucplan.layout import FINAL, Dataset
from nucplan.workflow.local import log_file
from trainers.out_of_fold.comparison import ReportRequest
from trainers.out_of_fold.states import last_words


def content_of(path: Path, job: str, dataset: Dataset, request: ReportRequest) -> tuple[Any, str | None]:
    """What the file of a job holds, or why it is not there or does not count.

    Parameters
    ----------
    path
        JSON with ``among`` (configs), ``folds`` and ``weights`` (hashes of checkpoints).
    job
        Its name, for its log.
    dataset
        Whose networks it is about.
    request
        The configs and folds of the report.
    """
    if not path.is_file():
        log = log_file(request.logs, job)
        return None, f"{job} failed: {last_words(log)}" if log.is_file() else "It is made when all trainings are there."
    content = read_json(path)
    if set(content.get("among", ())) != set(request.configs) or not set(content["folds"]) <= set(request.folds):
        return None, f"{path.name} is of other configs or folds than this report."
    networks = [dataset.results / name / FINAL for name in content["weights"]]
    if not all(file.is_file() for file in networks) or weights_of(networks) != content["weights"]:
        return None, f"{path.name} is of networks that were trained anew since or are gone."
    return content, None
