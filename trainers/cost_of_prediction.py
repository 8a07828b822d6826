"""Time and memory of prediction by single networks, measured so that configs can be held against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from nucplan.datasets.raw import RawDataset
from nucplan.devices import peak_memory
from nucplan.inference.predictor import Predictor
from nucplan.precision import precision_name
from nucplan.progress import Progress, silent
from nucplan.reproduction.environment import environment
from trainers.ensemble_rows import open_network

# Enough to be more than the cost of starting, few enough for a processor.
MOST_IMAGES, MOST_PIXELS = 8, 4_000_000


def chosen_images(raw: RawDataset, cases: Sequence[str]) -> dict[str, np.ndarray]:
    """At most eight of the images at equal distances in the list, and beyond the first one at most four megapixels."""
    spread = np.unique(np.linspace(0, len(cases) - 1, min(len(cases), MOST_IMAGES)).round().astype(int))
    found: dict[str, np.ndarray] = {}
    pixels = 0
    for case in (cases[k] for k in spread):
        image = raw.image(case)
        pixels += image.shape[0] * image.shape[1]
        if found and pixels > MOST_PIXELS:
            break
        found[case] = image
    return found


def take_turns(
    predictors: Mapping[str, Predictor], images: Sequence[np.ndarray], rounds: int, progress: Progress = silent
) -> dict[str, np.ndarray]:
    """Seconds by config, (rounds, images, 2): of the maps (everything before decoding), then of decoding them.

    Every config has predicted an image before any predicts the next one.
    """
    names = list(predictors)
    seconds = {name: np.zeros((rounds, len(images), 2)) for name in names}
    # The first pass of a network is slower: kernels are chosen and memory is taken.
    for predictor in predictors.values():
        _timed(predictor, images[0])
    for k in progress(range(rounds), "Measuring prediction"):
        # Who comes first finds the image in no cache.
        order = names if k % 2 == 0 else names[::-1]
        for i, image in enumerate(images):
            for name in order:
                seconds[name][k, i] = _timed(predictors[name], image)
    return seconds


def _timed(predictor: Predictor, image: np.ndarray) -> tuple[float, float]:
    # Maps come back to the processor, so nothing is left to wait for on a GPU.
    start = perf_counter()
    maps, region = predictor.probabilities(image)
    middle = perf_counter()
    predictor.decode(maps, region, image.shape[:2])
    return middle - start, perf_counter() - middle


def summary(seconds: np.ndarray, megapixels: float) -> dict[str, float]:
    """Figures of one config from its seconds (rounds, images, 2), of the median round."""
    maps, decoding = np.median(seconds.sum(axis=1), axis=0)
    whole = float(np.median(seconds.sum(axis=(1, 2))))
    return {
        "seconds": whole,
        "seconds_of_maps": float(maps),
        "seconds_of_decoding": float(decoding),
        "images_per_second": seconds.shape[1] / whole,
        "megapixels_per_second": megapixels / whole,
    }


def ratios(seconds: np.ndarray, baseline: np.ndarray) -> dict[str, float]:
    """Time in times that of the baseline, (rounds, images, 2) both: of everything, and of the maps alone.

    The median over rounds, each against the same round of the baseline.
    """
    whole = seconds.sum(axis=(1, 2)) / baseline.sum(axis=(1, 2))
    maps = seconds[..., 0].sum(axis=1) / baseline[..., 0].sum(axis=1)
    return {"times_baseline": float(np.median(whole)), "times_baseline_of_maps": float(np.median(maps))}


def conditions(device: torch.device) -> dict[str, Any]:
    """What figures depend on: device, its name, threads and number format."""
    here = environment(device.type)
    return {
        "device": device.type,
        "device_name": here["gpu"] or here["cpu"],
        "threads": here["threads"],
        "precision": precision_name(device),
    }


def used_memory(model: Path, fold: int, image: np.ndarray, device: torch.device) -> dict[str, int | str]:
    """The peak memory of a process that loads one network and predicts one image.

    Returns
    -------
    dict
        What `nucplan.devices.peak_memory` says then, and ``added_memory_bytes``: without that of the bare process.
    """
    # The peak of a process never falls, so each network needs one of its own.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_peak_of, model, fold, image, str(device), torch.get_num_threads()).result()


def _peak_of(model: Path, fold: int, image: np.ndarray, device_name: str, threads: int) -> dict[str, int | str]:
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    before = peak_memory(device)
    open_network(model, fold, device)(image)
    after = peak_memory(device)
    if not after:
        return {}
    return after | {"added_memory_bytes": after["peak_memory_bytes"] - before["peak_memory_bytes"]}
