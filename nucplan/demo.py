"""The chain of commands on a synthetic dataset, printed as it runs."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.layout import Dataset, resolve_roots

DATASET_ID, DATASET_NAME = 999, "Demo"
# Three slides of four images: one to test on, two to split into training and validation.
FEWEST_IMAGES = 12
ROWS = (
    ("PQ (pooled)", "pq_pooled"),
    ("AJI (image mean)", "aji_image_mean"),
    ("Dice (image mean)", "dice_image_mean"),
    ("detection F1 (pooled)", "detection_f1_pooled"),
    ("contact-boundary recall", "contact_boundary_recall"),
    ("merges", "merges"),
    ("splits", "splits"),
    ("mPQ+ (with classes)", "mpq_plus"),
)


def run_demo(output: Path, root: Path, images: int, iterations: int, seed: int, device: str) -> None:
    """Draw, convert, plan, train fold 0, predict, evaluate; what is done already is kept.

    Writes into ``output``: ``source`` (the drawn images), ``nuclei`` (predictions of the held-out images with
    ``metrics.json``), ``otsu`` (the reference row) and ``demo.png``.

    Raises
    ------
    NucplanError
        If there are too few images to split, or a step fails; the step has then said why.
    """
    if images < FEWEST_IMAGES:
        raise NucplanError(f"The demo needs at least {FEWEST_IMAGES} images to split, not {images}; raise --images.")
    if seed < 0:
        raise NucplanError(f"--seed {seed} is negative; give 0 or a positive number.")
    dataset = Dataset(resolve_roots(root), f"Dataset{DATASET_ID:03d}_{DATASET_NAME}")
    common = ["--root", str(root)]
    drawn = {"images": images, "seed": seed}
    if dataset.raw.is_dir():
        _refuse_other_drawing(output, drawn)
    else:
        _draw(output / "source", images, seed)
        write_json(output / "demo.json", drawn)
        _run(
            "convert",
            ["folder", str(output / "source"), str(DATASET_ID), DATASET_NAME, "--test-split", "0.25", *common],
        )
    on_device = [*common, "--device", device]
    _run("plan_and_preprocess", [str(DATASET_ID), *on_device])
    _run("train", [str(DATASET_ID), "0", "--iterations", str(iterations), *on_device])
    test_images, reference = dataset.part("images", "Ts"), dataset.part("instances", "Ts")
    nuclei = output / "nuclei"
    _run("predict", [str(DATASET_ID), str(test_images), str(nuclei), *on_device])
    _run("evaluate", [str(nuclei), str(reference)])
    otsu = _evaluate_otsu(dataset, output / "otsu")
    _draw_comparison(dataset, nuclei, output / "demo.png")
    print(_report(read_json(nuclei / "metrics.json")["summary"], otsu, output))


def _refuse_other_drawing(output: Path, drawn: dict[str, int]) -> None:
    record = output / "demo.json"
    if record.is_file() and read_json(record) != drawn:
        raise NucplanError(f"{output} holds a demo of other --images or another --seed; give another --output.")


def _run(command: str, arguments: Sequence[str]) -> None:
    print(f"\n$ nucplan_{command} {shlex.join(arguments)}", flush=True)
    main: Callable[[Sequence[str]], int] = import_module(f"nucplan.cli.{command}").main
    if main(arguments) != 0:
        raise NucplanError(f"The demo stopped at nucplan_{command}, for the reason above.")


def _draw(folder: Path, images: int, seed: int) -> None:
    from nucplan.datasets.synthetic import write_synthetic
    from nucplan.progress import progress

    print(f"Drawing {images} synthetic H&E images into {folder}", flush=True)
    write_synthetic(folder, images, seed=seed, track=lambda items: progress(items, "Drawing"))


def _evaluate_otsu(dataset: Dataset, folder: Path) -> dict[str, float]:
    """Scores of Otsu's threshold with a distance-transform watershed on the test part."""
    from nucplan.datasets.raw import RawDataset
    from nucplan.images import write_label_map
    from nucplan.metrics.folders import evaluate_folders
    from nucplan.reference import otsu_watershed

    raw = RawDataset(dataset)
    for case in raw.cases("Ts"):
        write_label_map(folder / f"{case}.tif", otsu_watershed(raw.image(case, "Ts")))
    return evaluate_folders(folder, dataset.part("instances", "Ts"))["summary"]


def _draw_comparison(dataset: Dataset, nuclei: Path, path: Path) -> None:
    """The first test image with the true outlines beside it with the predicted ones."""
    import numpy as np

    from nucplan.datasets.raw import RawDataset
    from nucplan.images import read_image, write_image
    from nucplan.inference.overlay import draw_overlay
    from nucplan.instances import instances_from_labels

    raw = RawDataset(dataset)
    case = raw.cases("Ts")[0]
    names = raw.info.class_names
    truth = instances_from_labels(raw.instances(case, "Ts"), raw.classes_map(case, "Ts"), len(names))
    left = draw_overlay(raw.image(case, "Ts"), truth, names)
    right = read_image(nuclei / f"{case}_overlay.png")
    height = max(left.shape[0], right.shape[0])
    panels = [np.pad(p, ((0, height - p.shape[0]), (0, 0), (0, 0)), constant_values=255) for p in (left, right)]
    gap = np.full((height, 12, 3), 255, np.uint8)
    write_image(path, np.concatenate([panels[0], gap, panels[1]], axis=1))


def _report(nucplan: dict[str, float], otsu: dict[str, float], output: Path) -> str:
    def cell(value: float | None) -> str:
        return "-" if value is None or value != value else str(value) if isinstance(value, int) else f"{value:.3f}"

    lines = ["", f"{'on the held-out images':<28}{'nucplan':>10}{'Otsu + watershed':>20}"]
    lines += [f"{title:<28}{cell(nucplan.get(key)):>10}{cell(otsu.get(key)):>20}" for title, key in ROWS]
    lines += [
        "",
        f"Pictures: {output / 'demo.png'} (left: truth, right: nucplan) and {output / 'nuclei'}/*_overlay.png",
        "",
        "Next, with your own images and label maps (images/x.png, labels/x.png in one folder):",
        *([] if shutil.which("nucplan_convert") else [f"  source {Path(sys.executable).parent / 'activate'}"]),
        "  nucplan_convert folder MY_FOLDER 1 MyNuclei --test-split 0.2",
        "  nucplan_plan_and_preprocess 1",
        "  nucplan_train 1 all",
        "  nucplan_predict 1 NEW_IMAGES nuclei",
    ]
    return "\n".join(lines)
