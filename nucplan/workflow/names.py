"""How the jobs of a benchmark, their plans and their files are called."""

from __future__ import annotations

from collections.abc import Sequence

from nucplan.layout import Dataset, injection_suffix, plans_name

REPORT, REFERENCE = "report", "nnunet"
# What is made of a dataset's networks, in a folder of its own in the output.
TEST, COST = "test.json", "cost.json"
# The config whose adapter has injection blocks.
ADAPTED = "cellvta"


def plan_of(config: str, seed: int = 0, injection_blocks: Sequence[int] | None = None) -> str:
    """The name of the plan that a config is trained with; the blocks are those of `ADAPTED` alone."""
    is_variant = config == ADAPTED and injection_blocks is not None
    return plans_name(seed, *([injection_suffix(injection_blocks)] if is_variant else []))


def training_name(dataset: Dataset, config: str, fold: int, seed: int = 0) -> str:
    """The name of the job that trains a fold; stock nnU-Net is the config `REFERENCE`."""
    return "/".join(["train", dataset.folder_name, config, *([f"seed_{seed}"] if seed else []), f"fold_{fold}"])


def choice_name(dataset: Dataset) -> str:
    """The name of the job that chooses the ensemble."""
    return f"choose/{dataset.folder_name}"


def scoring_name(dataset: Dataset) -> str:
    """The name of the job that scores the test part."""
    return f"test/{dataset.folder_name}"


def transferring_name(dataset: Dataset, other: Dataset) -> str:
    """The name of the job that scores the models of ``dataset`` on another one."""
    return f"transfer/{dataset.folder_name}/{other.folder_name}"


def transfer_name(other: Dataset) -> str:
    """The file of a transfer to ``other``, in the folder of the dataset whose models are scored."""
    return f"transfer_{other.folder_name}.json"


def costing_name(dataset: Dataset) -> str:
    """The name of the job that measures what prediction costs."""
    return f"cost/{dataset.folder_name}"
