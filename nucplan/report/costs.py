"""What configs cost, as cells of a table: trainings as they ran, prediction as it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nucplan.report.numbers import counted, number_text

UNKNOWN, UNMEASURED = "not recorded", "not measured"


class Column(NamedTuple):
    """A figure of the table: where it comes from, and how it is written."""

    title: str
    key: str
    decimals: int
    unit: float = 1
    # Whether other configs say how many times that of the baseline it is.
    compared: bool = True


class Cell(NamedTuple):
    """A figure as text and, where there is something to compare, how many times the baseline's it is."""

    text: str
    times: str | None = None

    def __str__(self) -> str:
        return self.text if self.times is None else f"{self.text} ({self.times})"


NETWORK = (
    Column("parameters / million", "parameters", 2, 1e6),
    Column("trained / million", "trained_parameters", 2, 1e6),
)
TRAINING = (
    Column("iterations", "iterations", 0, compared=False),
    Column("features", "features", 0, compared=False),
    Column("seconds per iteration", "seconds_per_iteration", 3),
    Column("patches per second", "images_per_second", 1, compared=False),
    Column("peak memory / GiB", "peak_memory_bytes", 1, 2**30),
)
PREDICTION = (
    Column("images per second", "images_per_second", 2, compared=False),
    Column("megapixels per second", "megapixels_per_second", 2, compared=False),
    Column("added memory / GiB", "added_memory_bytes", 2, 2**30),
)
# Ratios of the same turns, which those of two medians are not.
TURNS = (
    Column("time, times baseline", "times_baseline", 2, compared=False),
    Column("network alone, times baseline", "times_baseline_of_maps", 2, compared=False),
)
GROUPS = {"network": NETWORK, "training": TRAINING, "prediction": (*PREDICTION, *TURNS)}


def cost_rows(costs: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Any] | None) -> dict[str, list[Cell]]:
    """The cells of each config, in the order of `GROUPS`.

    Parameters
    ----------
    costs
        Config to what `trainers.out_of_fold.curves.costs` says; the first one is the baseline.
    measured
        What `trainers.measure_cost` wrote, or None.
    """
    of_configs = (measured or {}).get("configs", {})
    first = next(iter(costs), None)
    return {
        config: [
            *_cells(NETWORK, cost, {} if config == first else costs[first], UNKNOWN),
            *_cells(TRAINING, cost, costs[first] if _comparable(config, first, costs) else {}, UNKNOWN),
            *_cells(
                GROUPS["prediction"],
                of_configs.get(config, {}),
                {} if config == first else of_configs.get(first, {}),
                UNMEASURED,
            ),
        ]
        for config, cost in costs.items()
    }


def _comparable(config: str, first: str, costs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the config is another one than the first, and both computed their features or both read stored ones."""
    return config != first and costs[config].get("features") == costs[first].get("features")


def _cells(columns: tuple[Column, ...], of: Mapping[str, Any], baseline: Mapping[str, Any], missing: str) -> list[Cell]:
    return [_cell(column, of.get(column.key), baseline.get(column.key), missing) for column in columns]


def _cell(column: Column, value: float | str | None, baseline: float | None, missing: str) -> Cell:
    if value is None:
        return Cell(missing)
    if isinstance(value, str):
        return Cell(value)
    text = number_text(value / column.unit, column.decimals)
    return Cell(text, f"{number_text(value / baseline, 2)}x") if column.compared and baseline else Cell(text)


def conditions_text(costs: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Any] | None) -> str:
    """Under what conditions the figures were taken, in sentences."""
    precisions = sorted({cost["precision"] for cost in costs.values() if cost.get("precision")})
    memory = sorted({cost["peak_memory_of"] for cost in costs.values() if cost.get("peak_memory_of")})
    sentences = [f"Trained in {' and '.join(precisions) or 'a precision that was not recorded'}."]
    sentences += [f"Memory of trainings is that of the {' or '.join(memory)}."] if memory else []
    if len({cost.get("features") for cost in costs.values()}) > 1:
        sentences.append("Where features were stored, time and memory of trainings are those without their encoder.")
    return " ".join([*sentences, *([_of_prediction(measured)] if measured else [])])


def _of_prediction(measured: Mapping[str, Any]) -> str:
    images, threads = counted(len(measured["images"]), "validation image"), measured["threads"]
    place = measured["device_name"] + (f", {counted(threads, 'thread')}" if measured["device"] == "cpu" else "")
    of = next((one["peak_memory_of"] for one in measured["configs"].values() if "peak_memory_of" in one), None)
    return (
        f"Prediction: {images} of fold {measured['folds'][0]} ({measured['megapixels']:.2f} "
        f"megapixels), one network without mirroring, from image to nuclei, on {place}, {measured['precision']}; the "
        f"median of {measured['rounds']} rounds in which the configs took turns"
        + (f"; memory is what loading it and predicting the largest image adds to the {of}." if of else ".")
    )


def cost_tables(costs: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Any] | None) -> str:
    """The table and its conditions as Markdown."""
    titles = [f"{group}: {column.title}" for group, columns in GROUPS.items() for column in columns]
    lines = [f"| {' | '.join(['config', *titles])} |", "|---|" + "---|" * len(titles)]
    lines += [f"| {' | '.join([config, *map(str, cells)])} |" for config, cells in cost_rows(costs, measured).items()]
    return "\n".join([conditions_text(costs, measured), "", *lines])
