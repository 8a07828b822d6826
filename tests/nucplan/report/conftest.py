"""A report with everything in it, from small counts: two datasets, holes, an ensemble, a test part, and pictures."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest

from nucplan.metrics.image import ImageCounts, evaluate_image
from nucplan.report.ablation import ablation
from nucplan.report.plots import draw
from nucplan.report.ranks import ranks

CONFIGS = ("baseline", "boundary", "boundary_attention")
SHARES = dict.fromkeys(range(5), 1 / 4)
HOSTILE = "a<script>alert('x')</script>&\"b$_{"


def counts(name: str, skill: float) -> ImageCounts:
    """Twelve nuclei in pairs; the better a config, the fewer pairs it merges."""
    truth = np.zeros((40, 60), np.int32)
    for k in range(12):
        row, column = divmod(k, 4)
        truth[
            2 + 13 * row : 11 + 13 * row, 2 + 14 * column - 5 * (column % 2) : 11 + 14 * column - 5 * (column % 2)
        ] = k + 1
    predicted = truth.copy()
    for pair in np.random.default_rng(len(name) + ord(name[-1])).permutation(6)[: round(6 * (1 - skill))]:
        predicted[predicted == 2 * pair + 2] = 2 * pair + 1
    return evaluate_image(predicted, truth, boundary_width=1, name=name)


def folds(skill: float, which: range = range(5)) -> dict[int, list[ImageCounts]]:
    return {fold: [counts(f"{fold}{k}", skill - 0.04 * fold + 0.1 * k) for k in range(2)] for fold in which}


def comparison(stock_folds: range = range(2)) -> dict[str, Any]:
    """Three configs, a config under another decoder, and stock nnU-Net with holes."""
    skills = dict(zip((*CONFIGS, "boundary, decoder of baseline"), (0.4, 0.7, 0.8, 0.5), strict=True))
    found = {name: folds(skill) for name, skill in skills.items()} | {"stock nnU-Net": folds(0.3, stock_folds)}
    return ablation(found, {}, SHARES, untested=["boundary, decoder of baseline"])


def runs(made: dict[str, Any]) -> list[dict[str, Any]]:
    def state(row: dict, fold: int) -> dict[str, Any]:
        there = fold in row["folds"]
        kept = {"state": "finished", "reason": None, "pq": 0.5}
        lost = {"state": "failed", "reason": HOSTILE, "pq": None}
        return {"fold": fold, "job": f"train/x/{row['config']}/fold_{fold}"} | (kept if there else lost)

    return [
        {"config": row["config"], "folds": [state(row, fold) for fold in range(5)]}
        for row in made["rows"]
        if "decoder" not in row["config"]
    ]


def curve(config: str, fold: int) -> dict[str, Any]:
    fall = [1 / (1 + epoch + fold / 5) for epoch in range(6)]
    columns = {"epoch": list(range(6)), "learning_rate": fall, "loss": fall, "lambda_2": [0.5] * 6}
    if config == "boundary_attention":
        columns |= {"alpha": [0, 0.5, 1, 1, 1, 1], "validation_dice": [None, *fall[1:]]}
    return {"config": config, "seed": 0, "fold": fold, "columns": columns}


def option(configs: list[str], score: float, neck: float = 0.7) -> dict[str, Any]:
    return {"configs": configs, "score": score, "merges": 3, "splits": 4, "decoder": {"name": "tempered", "neck": neck}}


def data() -> dict[str, Any]:
    quantiles = {"5": 8.0, "25": 10.0, "50": 12.5, "75": 15.0, "95": 20.25}
    sizes = {"images": 10, "groups": 1, "test_images": 2, "test_groups": 1, "nuclei": 1200}
    lengths = {"diameter_px": quantiles, "diameter_um": quantiles, "gap_px": quantiles}
    density = {"nuclei_per_256x256": {"median": 3, "p99": 9}, "touching_share": 0.25}
    origin = {"mpp": 0.25, "channels": ["R", "G", "B"], "source": HOSTILE, "licence": None}
    return sizes | lengths | density | origin | {"image_size": {"median": [40, 60]}, "class_instances": {HOSTILE: 1200}}


def seed() -> dict[str, Any]:
    made = comparison()
    scores = {"pq_pooled": 0.5, "classification_f1_pooled": None, "n_predicted": 7, "n_reference": 9}
    rows = {config: {"round": scores, HOSTILE: scores} for config in CONFIGS}
    classes = {"names": ["round", HOSTILE], "rows": rows}
    compared = {"comparison": made, "not_compared": None, "classes": classes}
    return {"seed": 0, "runs": runs(made), "notes": [{"text": "500 iterations.", "warning": False}]} | compared


def inference() -> dict[str, Any]:
    nested = {"score": 0.6, "of_folds": {"0": option(["boundary"], 0.61), "1": option(["boundary"], 0.59)}}
    options = [option(["boundary"], 0.62), option(["baseline", "boundary"], 0.61)]
    chosen = {"configs": ["boundary"], "folds": [0, 1], "decoder": {"name": "tempered"}, "measure": "PQ (pooled)"}
    evidence = {"options": options, "chosen": option(["boundary"], 0.623, neck=0.5), "nested": nested}
    return chosen | {"evidence": evidence}


def of_test_part() -> dict[str, Any]:
    def row(name: str, config: str, of: list[int], pq: float, chosen: bool = False) -> dict[str, Any]:
        scores = {"Dice (image mean)": 0.9, "PQ (pooled)": pq, "merges": 12}
        return {"name": name, "configs": [config], "folds": of, "scores": scores, "chosen": chosen}

    pairs = [(config, fold) for config in CONFIGS[:2] for fold in range(2)]
    singles = [row(f"{config}, fold {fold}", config, [fold], 0.6 + 0.01 * fold) for config, fold in pairs]
    ensembles = [row(f"{config}, ensemble", config, [0, 1], 0.612) for config in CONFIGS[:2]]
    the_choice = row("the choice", "boundary", [0, 1], 0.615, chosen=True)
    return {"images": 2, "groups": 1, "rows": [*singles, *ensembles, the_choice]}


def measured_cost() -> dict[str, Any]:
    def of(seconds: float) -> dict[str, Any]:
        speed = {"images_per_second": 2 / seconds, "megapixels_per_second": 0.5 / seconds}
        times = {"times_baseline": seconds, "times_baseline_of_maps": 1.1 * seconds}
        return {"added_memory_bytes": 2**30 * seconds, "peak_memory_of": "GPU"} | speed | times

    place = {"device": "cuda", "device_name": HOSTILE, "threads": 2, "precision": "float16"}
    measured = {"images": ["a", "b"], "megapixels": 0.5, "rounds": 5, "folds": [0]}
    return place | measured | {"configs": {"baseline": of(1.0), "boundary": of(1.25)}}


def transfer(to: str, missing: str | None = None) -> dict[str, Any]:
    """A config that loses .1 on the other dataset, and the choice, of which less is known."""
    pair = {"dataset": "Small", "to": to, "missing": missing}
    if missing is not None:
        return pair
    titles = ("PQ (pooled)", "AP 0.50 to 0.95 (pooled)", "detection F1 (pooled)", "merges")
    known = {title: {"own": 0.6, "there": 0.5, "difference": -0.1, "native": 0.65} for title in titles[:3]}
    known["merges"] = {"own": 3, "there": 1234, "difference": None, "native": 7}
    alone = {title: score | {"own": None, "difference": None, "native": None} for title, score in known.items()}
    rows = [
        {"name": "boundary_attention, ensemble", "chosen": False, "scores": known},
        {"name": "the choice", "chosen": True, "scores": alone},
    ]
    classes = {HOSTILE: {"pq_pooled": 0.45}, "round": {"pq_pooled": None}}
    images = {"part": "test", "images": 2, "groups": 1, "mpp": [0.25, 0.5], "enlarged": 2.0, "classes": list(classes)}
    return pair | images | {"rows": [row | {"per_class": classes} for row in rows]}


def dataset(folder: str) -> dict[str, Any]:
    place = {"case": HOSTILE, "group": "g", "fold": 0, "rows": [0, 40], "columns": [0, 60]}
    cost = {"parameters": 4_300_000, "iterations": 500, "precision": None, "seconds_per_iteration": 0.25}
    cost |= {"images_per_second": 8.0, "peak_memory_bytes": 2**31, "peak_memory_of": "GPU"}
    cost |= {"trained_parameters": 4_000_000, "features": "computed"}
    slower = cost | {"seconds_per_iteration": 0.5, "peak_memory_bytes": None, "precision": "float16"}
    return {
        "name": folder[11:],
        "folder": folder,
        "missing": None,
        "verdict": f"{HOSTILE} is better than baseline.",
        "together": [],
        "no_inference": None,
        "no_test": None,
        "noise": [{"title": "Dice (image mean)", "noise": None}, {"title": "PQ (pooled)", "noise": None}],
        "data": data(),
        "plan": [{"decision": "patch_size", "value": ["64, 64"], "because": ["a reason", "* set by you"]}] * 12,
        "warnings": [HOSTILE],
        "boundary_width_px": 1,
        "seeds": [seed()],
        "failed": [{"job": "train/x/fold_2", "state": "failed", "reason": HOSTILE}],
        "crops": [place | {"picture": f"{folder}/crop_1", "touching": 9, "differing": 4}],
        "curves": [curve(config, fold) for config in CONFIGS for fold in range(2)],
        "costs": {"baseline": cost, "boundary": slower},
        "measured_cost": measured_cost(),
        "not_measured": None,
        "planned_cost": {"predicted_bytes": 2**30, "predicted_seconds": 0.25},
        "inference": inference(),
        "test": of_test_part(),
        "commands": ["nucplan_train 1 0"],
    }


@pytest.fixture(scope="session")
def report() -> dict[str, Any]:
    """As it is read from ``report.json``; the last dataset was not planned."""
    found = [dataset("Dataset001_Small"), dataset("Dataset002_Other")]
    missing = {"name": "Unplanned", "folder": "Dataset003_Unplanned", "missing": HOSTILE}
    made = {
        "provenance": {"command": f"python -m trainers.report '{HOSTILE}'", "versions": {"nucplan": "0"}},
        "configs": list(CONFIGS),
        "folds": list(range(5)),
        "datasets": [*found, missing],
        "transfers": [transfer("Other"), transfer(HOSTILE, missing=HOSTILE)],
        "ranks": ranks({one["name"]: one["seeds"][0]["comparison"] for one in found}, [*CONFIGS, "stock nnU-Net"]),
    }
    return json.loads(json.dumps(made, allow_nan=False))


@pytest.fixture(scope="session")
def pictures(report: dict[str, Any]) -> dict[str, bytes]:
    """The plots, and pictures in the size of a fingerprint and of crops."""
    picture = np.random.default_rng(0).integers(0, 255, (30, 46, 3), np.uint8)
    wide = cv2.imencode(".png", cv2.resize(picture, (1600, 1050)))[1].tobytes()
    names = [f"{one['folder']}/{kind}" for one in report["datasets"][:2] for kind in ("fingerprint", "crop_1")]
    return draw(report) | dict.fromkeys(names, wide)
