"""Options of an ensemble scored on out-of-fold predictions, image by image: few maps are kept at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nucplan.decoder_candidates import Candidate, candidates
from nucplan.decoder_plan import DecoderPlan
from nucplan.decoder_search import ScoredSet
from nucplan.ensemble_choice import Configs, finalists, options, score_options
from nucplan.layout import Dataset
from nucplan.progress import Progress, silent
from trainers.out_of_fold.decoder_scores import MOST_PROCESSES, decoding_processes
from trainers.out_of_fold.decoders import has_boundary
from trainers.out_of_fold.maps import open_fold


@dataclass(frozen=True)
class OutOfFoldOptions:
    """What the scores are made of.

    Attributes
    ----------
    dataset, models, folds
        Config to model folder; all have finished these folds.
    plans
        Config to its decoder as planned.
    device
        Where the networks are computed.
    """

    dataset: Dataset
    models: Mapping[str, Path]
    folds: Sequence[int]
    plans: Mapping[str, DecoderPlan]
    device: torch.device

    def scored(self, progress: Progress = silent) -> dict[Configs, ScoredSet]:
        """Each option under its planned decoder, and those that may be chosen under every coarse candidate."""
        sets = {option: self._empty_set(option) for option in options(tuple(self.models))}
        with decoding_processes() as pool:
            self._score(sets, {option: [Candidate.of(one.plan)] for option, one in sets.items()}, pool, progress)
            wanted = {}
            for option in finalists(sets):
                grid = candidates(sets[option].plan, any(map(has_boundary, option)))
                wanted[option] = [candidate for candidate in grid if candidate not in sets[option].scores]
            self._score(sets, wanted, pool, progress)
        return sets

    def _empty_set(self, option: Configs) -> ScoredSet:
        # Maps of which some have a boundary are decoded with it.
        plan = self.plans[next(filter(has_boundary, option), option[0])]
        return ScoredSet(" + ".join(option), plan, np.zeros(0, np.int64))

    def _score(
        self,
        sets: Mapping[Configs, ScoredSet],
        wanted: Mapping[Configs, Sequence[Candidate]],
        pool: ProcessPoolExecutor,
        progress: Progress,
    ) -> None:
        """Add the scores of the ``wanted`` candidates to the sets, and to which fold each image belongs."""
        plans = {option: [one.plan(sets[option].plan) for one in of] for option, of in wanted.items()}
        rows: list[dict[Configs, np.ndarray]] = []
        fold_of_image: list[int] = []
        for fold in self.folds:
            scored = list(_in_order(self._tasks(fold, plans, pool, progress)))
            rows += scored
            fold_of_image += [fold] * len(scored)
        for option, of_option in wanted.items():
            table = np.stack([row[option] for row in rows])
            sets[option].folds = np.array(fold_of_image)
            sets[option].scores |= dict(zip(of_option, table.swapaxes(0, 1), strict=True))

    def _tasks(
        self, fold: int, plans: Mapping[Configs, Sequence[DecoderPlan]], pool: ProcessPoolExecutor, progress: Progress
    ) -> Iterator[Future]:
        names = sorted({name for option in plans for name in option})
        opened = {name: open_fold(self.dataset, self.models[name], fold, self.device) for name in names}
        first = opened[names[0]]
        raw, typed = first.raw, len(first.raw.info.class_names) > 1
        for case in progress(first.cases, f"{self.dataset.name}, fold {fold}"):
            found = {name: one.maps_of(case) for name, one in opened.items()}
            maps, region = {name: one.maps for name, one in found.items()}, found[names[0]].region
            classes = raw.classes_map(case) if typed else None
            yield pool.submit(score_options, maps, region, raw.instances(case), plans, raw.ignored(case), classes)


def _in_order(tasks: Iterator[Future]) -> Iterator[dict[Configs, np.ndarray]]:
    """The results of tasks in their order; only as many are begun ahead as keep all processes busy."""
    begun: deque[Future] = deque()
    for task in tasks:
        begun.append(task)
        if len(begun) > 2 * MOST_PROCESSES:
            yield begun.popleft().result()
    yield from (task.result() for task in begun)
