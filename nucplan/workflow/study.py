"""What a benchmark asks for, and the jobs that answer it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from pathlib import Path
from typing import Any

from nucplan.files import read_json
from nucplan.layout import CHOICE, FINAL, FOLDS, LATEST, PLANS_NAME, Dataset, plans_name
from nucplan.origin import TrainedOn
from nucplan.plans import data_identifier, decision, overridden
from nucplan.reproduction.grid import FILE_NAME, grid, words
from nucplan.schedule import epochs
from nucplan.workflow.decided import Decided, PlannedFor
from nucplan.workflow.jobs import Job, Length, PlanCopy, Resources
from nucplan.workflow.names import (
    ADAPTED,
    COST,
    REFERENCE,
    REPORT,
    TEST,
    choice_name,
    costing_name,
    plan_of,
    scoring_name,
    training_name,
    transfer_name,
    transferring_name,
)
from nucplan.workflow.pretrained import Pretrained
from nucplan.workflow.transfer import annotated_part

# Images, a plan and a training on a GPU leave room for the rest of the process in this.
PROCESS_GIB = 4
UNKNOWN_HOURS, LEAST_HOURS = 24.0, 1.0
# A cluster ends jobs that pass their limit, so the expected time is no limit.
MARGIN = 3.0
KINDS = ("images", "labels", "instances")


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
    native_resolution
        Plan all datasets at the scale of their images.
    injection_blocks
        Of the config `ADAPTED`; None for all.
    transfer_to
        Raw datasets that the models of each other one are scored on.
    encoders
        By folder name of a dataset, the pretrained encoder to plan it for; others keep what they are planned for.
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
    native_resolution: bool = False
    injection_blocks: tuple[int, ...] | None = None
    transfer_to: tuple[Dataset, ...] = ()
    encoders: Mapping[str, Pretrained] = field(default_factory=dict)

    @property
    def read(self) -> tuple[Dataset, ...]:
        """All datasets whose raw files are read: those that are trained on, then those that are scored alone."""
        return tuple(dict.fromkeys([*self.datasets, *self.transfer_to]))

    def model(self, dataset: Dataset, config: str, seed: int = 0) -> Path:
        """The folder of the folds of a config."""
        return dataset.model(self.trainers[config], plan_of(config, seed, self.injection_blocks))

    def test_file(self, dataset: Dataset) -> Path:
        """Where the scores of the test part go."""
        return self.output / dataset.folder_name / TEST

    def transfer_file(self, dataset: Dataset, other: Dataset) -> Path:
        """Where the scores of the models of ``dataset`` on another one go."""
        return self.output / dataset.folder_name / transfer_name(other)

    def jobs(self) -> list[Job]:
        """All jobs, each after those that it waits for; fold 0 of every config comes first, to be compared early."""
        jobs = [job for dataset in self.datasets for job in self._jobs_of(dataset)]
        return [*jobs, self._manifest(jobs), self._report(jobs)]

    def _jobs_of(self, dataset: Dataset) -> Iterator[Job]:
        yield self._planning(dataset)
        trainings = {seed: self._trainings(dataset, seed) for seed in self.seeds}
        for of_seed in trainings.values():
            yield from of_seed
        if self.reference:
            yield from (self._reference(dataset, fold) for fold in self.folds)
        choice = self._choice(dataset, trainings[self.seeds[0]])
        yield choice
        if _holds_files(dataset.part("images", "Ts")):
            yield self._test(dataset, choice)
        for other in self.transfer_to:
            if other != dataset:
                yield self._transfer(dataset, other, choice)
        yield self._cost(dataset, trainings[self.seeds[0]])

    def _planning(self, dataset: Dataset) -> Job:
        models = tuple(self.model(dataset, config, seed) for seed in self.seeds for config in self.trainers)
        asked, plan = self.encoders.get(dataset.folder_name), dataset.plans()
        decided = (Decided(plan, "scale", 1, models),) if self.native_resolution else ()
        decided += (PlannedFor(plan, asked, models),) if asked is not None else ()
        return Job(
            f"plan/{dataset.folder_name}",
            self._command("nucplan_plan_and_preprocess", str(dataset.id), *self._planning_options(dataset)),
            inputs=(dataset.dataset_json, *map(dataset.part, KINDS), *_files(dataset)),
            outputs=(plan, dataset.made_from(data_identifier(dataset))),
            decided=decided,
            resources=Resources(gpus=self._gpus, hours=UNKNOWN_HOURS),
        )

    def _planning_options(self, dataset: Dataset) -> list[str]:
        """What a user decided is decided again, but for what the study decides."""
        plans = read_json(dataset.plans()) if dataset.plans().is_file() else None
        settings, planned = (overridden(plans), Pretrained.of_plan(plans)) if plans is not None else ({}, None)
        encoder = self.encoders.get(dataset.folder_name, planned)
        if encoder != planned:
            # Depth and taps were those of another encoder.
            settings.pop("encoder", None)
        if self.native_resolution:
            settings.pop("scale", None)
        options = [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]
        options += ["--native-resolution"] if self.native_resolution else []
        return options + (encoder.options if encoder is not None else [])

    def _trainings(self, dataset: Dataset, seed: int) -> list[Job]:
        return [self._training(dataset, config, fold, seed) for fold in self.folds for config in self.trainers]

    def _training(self, dataset: Dataset, config: str, fold: int, seed: int) -> Job:
        model = self.model(dataset, config, seed)
        folder, options = model / f"fold_{fold}", ["--wait"]
        options += ["--seed", str(seed)] if seed else []
        injected = self.injection_blocks is not None and config == ADAPTED
        options += ["--injection-blocks", ",".join(map(str, self.injection_blocks))] if injected else []
        return Job(
            training_name(dataset, config, fold, seed),
            self._command("nucplan_train", str(dataset.id), str(fold), "--config", config, *self._length(), *options),
            outputs=(folder / FINAL, folder / "validation" / "summary.json"),
            after=(dataset.made_from(data_identifier(dataset)),),
            plan=PlanCopy(dataset.plans(), model / "plans.json", variant=injected),
            length=Length(folder / "run.json", self._asked(dataset), (folder / FINAL, folder / LATEST)),
            data=TrainedOn(folder / "run.json", dataset, (folder / FINAL, folder / LATEST)),
            **self._needs(dataset),
        )

    def _reference(self, dataset: Dataset, fold: int) -> Job:
        folder = dataset.model(*self.reference) / f"fold_{fold}"
        return Job(
            training_name(dataset, REFERENCE, fold),
            self._command(
                "python", "-m", "trainers.run_reference", str(dataset.id), str(fold), *self._length(), "--wait"
            ),
            outputs=(folder / "validation" / "metrics.json",),
            after=(dataset.made_from(data_identifier(dataset)), dataset.plans()),
            length=Length(folder / "run.json", self._asked(dataset), (folder / "validation" / "metrics.json",)),
            data=TrainedOn(folder / "run.json", dataset, (folder / "validation" / "metrics.json",)),
            **self._needs(dataset),
        )

    def _choice(self, dataset: Dataset, trainings: Sequence[Job]) -> Job:
        """Which networks of the first seed predict by default."""
        command = self._command(
            "python", "-m", "trainers.choose_ensemble", str(dataset.id), *self._networks(self.folds)
        )
        return Job(
            choice_name(dataset),
            command,
            inputs=(dataset.plans(), *(path for job in trainings for path in job.outputs)),
            outputs=(dataset.results / CHOICE,),
            written=_in_json(command),
            resources=Resources(gpus=self._gpus, hours=UNKNOWN_HOURS),
        )

    def _test(self, dataset: Dataset, choice: Job) -> Job:
        """Scores of the test part, which no choice has seen."""
        inputs = (*choice.inputs, *choice.outputs, *_files(dataset, "Ts"))
        words = [str(dataset.id), *self._networks(self.folds)]
        return self._scoring(scoring_name(dataset), "score_test", words, inputs, self.test_file(dataset))

    def _transfer(self, dataset: Dataset, other: Dataset, choice: Job) -> Job:
        """Scores of another dataset, of whose test part where it has one."""
        inputs = (*choice.inputs, *choice.outputs, other.dataset_json, *_files(other, annotated_part(other)))
        words = [str(dataset.id), "--to", str(other.id), *self._networks(self.folds)]
        output = self.transfer_file(dataset, other)
        return self._scoring(transferring_name(dataset, other), "score_transfer", words, inputs, output)

    def _cost(self, dataset: Dataset, trainings: Sequence[Job]) -> Job:
        """What prediction costs; one network of each config is enough for it."""
        inputs = tuple(path for job in trainings[: len(self.trainers)] for path in job.outputs)
        words = [str(dataset.id), *self._networks(self.folds[:1])]
        output = self.output / dataset.folder_name / COST
        return self._scoring(costing_name(dataset), "measure_cost", words, inputs, output)

    def _scoring(self, name: str, module: str, words: Sequence[str], inputs: tuple[Path, ...], output: Path) -> Job:
        """A job that applies trained networks and writes one JSON file."""
        command = self._command("python", "-m", f"trainers.{module}", *words, "--output", str(output))
        resources = Resources(gpus=self._gpus, hours=UNKNOWN_HOURS)
        return Job(name, command, inputs=inputs, outputs=(output,), written=_in_json(command), resources=resources)

    def _networks(self, folds: Sequence[int]) -> list[str]:
        """Trained networks of the first seed, as options."""
        usual, seed = plans_name(self.seeds[0]), self.seeds[0]
        plans = {config: plan_of(config, seed, self.injection_blocks) for config in self.trainers}
        names = [usual, *(f"{config}={plan}" for config, plan in plans.items() if plan != usual)]
        options = ["--configs", ",".join(self.trainers), "--folds", ",".join(map(str, folds))]
        return [*options, *(["--plans", ",".join(names)] if names != [PLANS_NAME] else [])]

    def _report(self, jobs: Sequence[Job]) -> Job:
        """One report of all, made also where jobs failed: their folds are holes in it."""
        options = ["--configs", ",".join(self.trainers), "--folds", ",".join(map(str, self.folds))]
        options += ["--seeds", ",".join(map(str, self.seeds)), *(["--reference"] if self.reference else [])]
        blocks, others = self.injection_blocks, [str(other.id) for other in self.transfer_to]
        options += ["--injection-blocks", ",".join(map(str, blocks))] if blocks else []
        options += ["--transfer-to", ",".join(others)] if others else []
        datasets = [str(dataset.id) for dataset in self.datasets]
        command = self._command("python", "-m", "trainers.report", *datasets, *options, "--output", str(self.output))
        return Job(
            REPORT,
            command,
            inputs=tuple(path for job in jobs for path in job.outputs),
            outputs=(self.output / "report.json", self.output / "report.html"),
            written=_in_json(command),
            anyway=True,
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
            anyway=True,
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

    def _needs(self, dataset: Dataset) -> dict[str, Any]:
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


def _files(dataset: Dataset, part: str = "Tr") -> tuple[Path, ...]:
    """Folders and files of a part: the time of a folder changes when a case is added or removed, whatever its own."""
    there = [folder for kind in KINDS if (folder := dataset.part(kind, part)).is_dir()]
    return (*there, *(path for folder in there for path in sorted(folder.iterdir())))


def _holds_files(folder: Path) -> bool:
    """Whether there is more than what a system hides; nnU-Net's folders are often there and empty."""
    return folder.is_dir() and any(path.name[0] != "." for path in folder.iterdir())


def _in_json(command: Sequence[str]) -> str:
    """The beginning of a command as it stands in a JSON file: device and root, which come last, change no result."""
    return json.dumps(shlex.join(command[: command.index("--device") + 1])).strip('"')
