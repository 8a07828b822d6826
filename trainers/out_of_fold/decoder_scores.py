"""Decoders scored on out-of-fold predictions: the maps of a model in memory, and processes that decode them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from nucplan.datasets.raw import RawDataset
from nucplan.decoder_candidates import Candidate
from nucplan.decoder_search import ScoredSet, score_case
from nucplan.devices import usable_cores
from nucplan.instances import NucleusProbabilities
from nucplan.layout import Dataset
from nucplan.progress import Progress, silent
from trainers.out_of_fold.maps import OutOfFoldMaps, open_fold

MOST_PROCESSES = 8


class _Case(NamedTuple):
    maps: NucleusProbabilities
    region: list[tuple[int, int]]
    reference: np.ndarray
    ignore: np.ndarray | None


@dataclass(frozen=True)
class OutOfFoldSet:
    """The validation images of some folds of one model.

    Attributes
    ----------
    scored : without any score yet
    cases : maps and annotation, in the order of ``scored.folds``
    has_boundary : whether the maps hold a boundary
    """

    scored: ScoredSet
    cases: list[_Case]
    has_boundary: bool


def load_set(
    dataset: Dataset, model: Path, folds: Collection[int], device: torch.device, progress: Progress = silent
) -> OutOfFoldSet:
    """Predict the validation images of ``folds``, at least one.

    Raises
    ------
    NucplanError
        If a fold is not finished, or was trained on what is now a validation image.
    """
    cases, fold_of_case, opened = [], [], None
    for number in folds:
        opened = open_fold(dataset, model, number, device)
        cases += [_case(opened.raw, found) for found in progress(opened.maps(), f"{dataset.name}, fold {number}")]
        fold_of_case += [number] * len(opened.cases)
    scored = ScoredSet(dataset.name, opened.predictor.decoder_plan, np.array(fold_of_case))
    return OutOfFoldSet(scored, cases, opened.predictor.has_boundary)


def _case(raw: RawDataset, found: OutOfFoldMaps) -> _Case:
    return _Case(found.maps, found.region, raw.instances(found.case), raw.ignored(found.case))


@contextmanager
def scorer(
    sets: Sequence[OutOfFoldSet], progress: Progress = silent
) -> Iterator[Callable[[ScoredSet, Sequence[Candidate]], np.ndarray]]:
    """Give what `nucplan.decoder_search.search` scores with, on one process per core."""
    cases_of = {id(one.scored): one.cases for one in sets}
    with decoding_processes() as pool:

        def score(scored: ScoredSet, candidates: Sequence[Candidate]) -> np.ndarray:
            plans = [candidate.plan(scored.plan) for candidate in candidates]
            tasks = [
                pool.submit(score_case, case.maps, case.region, case.reference, plans, case.ignore)
                for case in cases_of[id(scored)]
            ]
            return np.stack([task.result() for task in progress(tasks, f"{scored.name}, {len(plans)} decoders")])

        yield score


@contextmanager
def decoding_processes() -> Iterator[ProcessPoolExecutor]:
    """One process per core, each of one thread."""
    # Forked processes would inherit the threads of torch and OpenCV as they happen to stand.
    context, processes = get_context("spawn"), min(MOST_PROCESSES, usable_cores())
    pool = ProcessPoolExecutor(processes, context, initializer=cv2.setNumThreads, initargs=(1,))
    try:
        yield pool
    finally:
        # Whoever stops does not wait for what has not begun.
        pool.shutdown(cancel_futures=True)
