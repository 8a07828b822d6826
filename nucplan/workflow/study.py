"""What a benchmark asks for, and the jobs that answer it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

from nucplan.files import read_json
from nucplan.layout import FINAL, FOLDS, LATEST, Dataset, plans_name
from nucplan.origin import TrainedOn
from nucplan.plans import decision
from nucplan.reproduction.grid import FILE_NAME, grid, words
from nucplan.schedule import epochs
from nucplan.workflow.jobs import Job, Length, PlanCopy, Resources

# Images, a plan and a training on a GPU leave room for the rest of the process in this.
PROCESS_GIB = 4
UNKNOWN_HOURS, LEAST_HOURS = 24.0, 1.0
# A cluster ends jobs that pass their limit, so the expected time is no limit.
MARGIN = 3.0


@dataclass(frozen=True)
class Study:
    """Datasets x configs x folds x seeds, all trained alike.

    Attributes
    ----------
    datasets
        In the order of the report.
    trainers
        Config -> name of its trainer class, which stands in result folders; the first config is the one that the
        others are compared with.
    folds, seeds
        Trained for every config.
    budget
        Name of a length in the plan.
    iterations
        A length that wins over ``budget``, or None.
    reference
        Trainer and plan of stock nnU-Net in its result folder, or None where it is not trained.
    device
        ``auto``, ``cpu`` or ``cuda``.
    root
        What ``--root`` was, or None.
    output
        Folder of what is made from all results.
    """

    datasets: tuple[Dataset, ...]
    trainers: Mapping[str, str]
    output: Path
    folds: tuple[int, ...] = FOLDS
    seeds: tuple[int, ...] = (0,)
    budget: str = "standard"
    iterations: int | None = None
    reference: tuple[str, str] | None = None
    device: str = "auto"
    root: str | None = None

    def jobs(self) -> list[Job]:
        """All jobs, each after those that it waits for; fold 0 of every config comes first, to be compared early."""
        jobs = [job for dataset in self.datasets for job in self._jobs_of(dataset)]
        return [*jobs, self._manifest(jobs)]

    def _jobs_of(self, dataset: Dataset) -> Iterator[Job]:
        yield self._planning(dataset)
        references = [self._reference(dataset, fold) for fold in self.folds] if self.reference else []
        tables = []
        for seed in self.seeds:
            trainings = [self._training(dataset, config, fold, seed) for fold in self.folds for config in self.trainers]
            yield from trainings
            tables.append(self._table(dataset, seed, [*trainings, *references]))
        yield from references
        yield from tables

    def _planning(self, dataset: Dataset) -> Job:
        folders = [dataset.part(kind) for kind in ("images", "labels", "instances")]
        files = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir())
        return Job(
            f"plan/{dataset.folder_name}",
            self._command("nucplan_plan_and_preprocess", str(dataset.id)),
            # The folders too: their time changes when a case is added or removed, whatever the time of the case.
            inputs=(dataset.dataset_json, *folders, *files),
            outputs=(dataset.plans(), dataset.made_from()),
            resources=Resources(gpus=self._gpus, hours=UNKNOWN_HOURS),
        )

    def _training(self, dataset: Dataset, config: str, fold: int, seed: int) -> Job:
        model = dataset.model(self.trainers[config], plans_name(seed))
        folder, options = model / f"fold_{fold}", ["--wait"]
        options += ["--seed", str(seed)] if seed else []
        return Job(
            "/".join(["train", dataset.folder_name, config, *_of_seed(seed), f"fold_{fold}"]),
            self._command("nucplan_train", str(dataset.id), str(fold), "--config", config, *self._length(), *options),
            outputs=(folder / FINAL, folder / "validation" / "summary.json"),
            after=(dataset.made_from(),),
            plan=PlanCopy(dataset.plans(), model / "plans.json"),
            length=Length(folder / "run.json", self._asked(dataset), (folder / FINAL, folder / LATEST)),
            data=TrainedOn(folder / "run.json", dataset, (folder / FINAL, folder / LATEST)),
            **self._cost(dataset),
        )

    def _reference(self, dataset: Dataset, fold: int) -> Job:
        folder = dataset.model(*self.reference) / f"fold_{fold}"
        return Job(
            f"train/{dataset.folder_name}/nnunet/fold_{fold}",
            self._command(
                "python", "-m", "trainers.run_reference", str(dataset.id), str(fold), *self._length(), "--wait"
            ),
            outputs=(folder / "validation" / "metrics.json",),
            after=(dataset.made_from(), dataset.plans()),
            length=Length(folder / "run.json", self._asked(dataset), (folder / "validation" / "metrics.json",)),
            data=TrainedOn(folder / "run.json", dataset, (folder / "validation" / "metrics.json",)),
            **self._cost(dataset),
        )

    def _table(self, dataset: Dataset, seed: int, trainings: Sequence[Job]) -> Job:
        output = self.output / dataset.folder_name / ("ablation.md" if seed == 0 else f"ablation_seed_{seed}.md")
        options = ["--configs", ",".join(self.trainers), "--plans", plans_name(seed), "--same-decoder"]
        options += ["--folds", ",".join(map(str, self.folds)), *(["--reference"] if self.reference else [])]
        command = self._command(
            "python", "-m", "trainers.tabulate_ablation", str(dataset.id), *options, "--output", str(output)
        )
        return Job(
            "/".join(["table", dataset.folder_name, *_of_seed(seed)]),
            command,
            inputs=tuple(path for job in trainings for path in job.outputs),
            outputs=(output,),
            written=shlex.join(command),
            resources=Resources(gpus=self._gpus, hours=UNKNOWN_HOURS),
        )

    def _manifest(self, jobs: Sequence[Job]) -> Job:
        output = self.output / FILE_NAME
        arguments = words(grid(self))
        return Job(
            "manifest",
            self._command("nucplan_benchmark", *arguments, "--manifest", "--output", str(self.output)),
            inputs=tuple(path for job in jobs for path in job.outputs),
            outputs=(output,),
            # The manifest names neither root nor output.
            written=json.dumps(shlex.join(["nucplan_benchmark", *arguments])),
            # It tells of the GPU, where there is one.
            resources=Resources(gpus=self._gpus),
        )

    def _command(self, *parts: str) -> tuple[str, ...]:
        root = ("--root", self.root) if self.root is not None else ()
        return (*parts, "--device", self.device, *root)

    def _length(self) -> tuple[str, str]:
        return ("--budget", self.budget) if self.iterations is None else ("--iterations", str(self.iterations))

    def _asked(self, dataset: Dataset) -> int | None:
        """Iterations of a training; None before the plan is there."""
        if self.iterations is None and not dataset.plans().is_file():
            return None
        return prod(epochs(self.iterations or decision(read_json(dataset.plans()), "iterations")[self.budget]))

    @property
    def _gpus(self) -> int:
        return int(self.device == "cuda")

    def _cost(self, dataset: Dataset) -> dict[str, Any]:
        """Time and resources of one training; from the plan, where there is one."""
        if not dataset.plans().is_file():
            return {"resources": Resources(gpus=self._gpus, memory_gib=2 * PROCESS_GIB, hours=UNKNOWN_HOURS)}
        plans = read_json(dataset.plans())
        batch = plans["nucplan"]["decisions"]["batch_size"]["from"]
        memory = PROCESS_GIB + (0 if self._gpus else ceil(batch["predicted_bytes"] / 2**30))
        seconds = batch.get("predicted_seconds")
        if seconds is not None:
            seconds *= self._asked(dataset)
        hours = UNKNOWN_HOURS if seconds is None else max(LEAST_HOURS, ceil(MARGIN * seconds / 3600))
        return {"resources": Resources(gpus=self._gpus, memory_gib=memory, hours=hours), "seconds": seconds}


def _of_seed(seed: int) -> list[str]:
    return [f"seed_{seed}"] if seed else []
