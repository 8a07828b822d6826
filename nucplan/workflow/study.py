"""What a benchmark asks for, and the jobs that answer it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from nucplan.files import read_json
from nucplan.layout import FINAL, FOLDS, Dataset, plans_name
from nucplan.plans import decision
from nucplan.workflow.jobs import Job, PlanCopy, Resources

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
        return [job for dataset in self.datasets for job in self._jobs_of(dataset)]

    def _jobs_of(self, dataset: Dataset) -> Iterator[Job]:
        yield self._planning(dataset)
        trainings = [
            self._training(dataset, config, fold, seed)
            for seed in self.seeds
            for fold in self.folds
            for config in self.trainers
        ]
        references = [self._reference(dataset, fold) for fold in self.folds] if self.reference else []
        yield from trainings
        yield from references
        for seed in self.seeds:
            yield self._table(dataset, seed, trainings, references)

    def _planning(self, dataset: Dataset) -> Job:
        folders = [dataset.part(kind) for kind in ("images", "labels", "instances")]
        files = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir())
        return Job(
            f"plan/{dataset.folder_name}",
            self._command("nucplan_plan_and_preprocess", str(dataset.id)),
            inputs=(dataset.dataset_json, *files),
            outputs=(dataset.plans(), dataset.made_from()),
            resources=Resources(gpus=self._gpus),
        )

    def _training(self, dataset: Dataset, config: str, fold: int, seed: int) -> Job:
        model = dataset.model(self.trainers[config], plans_name(seed))
        folder, options = model / f"fold_{fold}", ["--wait"]
        options += ["--seed", str(seed)] if seed else []
        return Job(
            "/".join(["train", dataset.folder_name, config, *_of_seed(seed), f"fold_{fold}"]),
            self._command("nucplan_train", str(dataset.id), str(fold), "--config", config, *self._length(), *options),
            inputs=(dataset.made_from(),),
            outputs=(folder / FINAL, folder / "validation" / "summary.json"),
            plan=PlanCopy(dataset.plans(), model / "plans.json"),
            **self._cost(dataset),
        )

    def _reference(self, dataset: Dataset, fold: int) -> Job:
        folder = dataset.model(*self.reference) / f"fold_{fold}"
        return Job(
            f"train/{dataset.folder_name}/nnunet/fold_{fold}",
            self._command(
                "python", "-m", "trainers.run_reference", str(dataset.id), str(fold), *self._length(), "--wait"
            ),
            inputs=(dataset.made_from(), dataset.plans()),
            outputs=(folder / "validation" / "metrics.json",),
            **self._cost(dataset),
        )

    def _table(self, dataset: Dataset, seed: int, trainings: Sequence[Job], references: Sequence[Job]) -> Job:
        of_seed = [job for job in trainings if job.plan.copy.parent.name.split("__")[1] == plans_name(seed)]
        output = self.output / dataset.folder_name / ("ablation.md" if seed == 0 else f"ablation_seed_{seed}.md")
        options = ["--configs", ",".join(self.trainers), "--plans", plans_name(seed), "--same-decoder"]
        options += ["--reference"] if self.reference else []
        return Job(
            "/".join(["table", dataset.folder_name, *_of_seed(seed)]),
            self._command(
                "python", "-m", "trainers.tabulate_ablation", str(dataset.id), *options, "--output", str(output)
            ),
            inputs=tuple(path for job in (*of_seed, *references) for path in job.outputs),
            outputs=(output,),
            resources=Resources(gpus=self._gpus),
        )

    def _command(self, *words: str) -> tuple[str, ...]:
        root = ("--root", self.root) if self.root is not None else ()
        return (*words, "--device", self.device, *root)

    def _length(self) -> tuple[str, str]:
        return ("--budget", self.budget) if self.iterations is None else ("--iterations", str(self.iterations))

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
            seconds *= self.iterations or decision(plans, "iterations")[self.budget]
        hours = UNKNOWN_HOURS if seconds is None else max(LEAST_HOURS, ceil(MARGIN * seconds / 3600))
        return {"resources": Resources(gpus=self._gpus, memory_gib=memory, hours=hours), "seconds": seconds}


def _of_seed(seed: int) -> list[str]:
    return [f"seed_{seed}"] if seed else []
