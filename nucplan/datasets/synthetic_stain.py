"""How synthetic tissue looks: stains that differ from slide to slide, stroma, clutter, and the camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

# Optical density per unit of stain in R, G, B: Ruifrok and Johnston 2001, Anal. Quant. Cytol. Histol. 23.
HEMATOXYLIN = (0.65, 0.70, 0.29)
EOSIN = (0.07, 0.99, 0.11)


@dataclass(frozen=True)
class Stain:
    """One slide's look.

    Attributes
    ----------
    hematoxylin, eosin : optical density per unit of stain in R, G, B; unit vectors
    hematoxylin_amount, eosin_amount : strength of the two stains, around 1
    blur : standard deviation of the defocus in pixels
    noise : standard deviation of the camera noise in grey levels
    smear : amount of hematoxylin that lies outside nuclei, 0 to 1
    """

    hematoxylin: np.ndarray
    eosin: np.ndarray
    hematoxylin_amount: float
    eosin_amount: float
    blur: float
    noise: float
    smear: float


def draw_stain(rng: np.random.Generator) -> Stain:
    """The stain of a slide."""
    return Stain(
        hematoxylin=_unit(np.array(HEMATOXYLIN) + rng.normal(0, 0.05, 3)),
        eosin=_unit(np.array(EOSIN) + np.abs(rng.normal(0, 0.09, 3))),
        hematoxylin_amount=rng.uniform(0.75, 1.25),
        eosin_amount=rng.uniform(0.6, 1.3),
        blur=rng.uniform(0.5, 1.1),
        noise=rng.uniform(2.0, 6.0),
        smear=rng.uniform(0.3, 1.0),
    )


def vary(stain: Stain, rng: np.random.Generator) -> Stain:
    """The stain of one image of that slide: focus, noise and strength differ a little."""
    return replace(
        stain,
        hematoxylin_amount=stain.hematoxylin_amount * rng.uniform(0.9, 1.1),
        eosin_amount=stain.eosin_amount * rng.uniform(0.85, 1.15),
        blur=stain.blur * rng.uniform(0.8, 1.3),
        noise=stain.noise * rng.uniform(0.8, 1.2),
    )


def smooth_noise(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """``(size, size)`` float32 noise of about unit variance whose blobs are about ``scale`` pixels wide."""
    cells = max(2, round(size / scale) + 1)
    noise = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC) * 1.3


def fibres(rng: np.random.Generator, size: int, angle: float) -> np.ndarray:
    """``(size, size)`` float32 wavy stroma fibres along ``angle`` (radians), about 0 to 1."""
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    sin, cos = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    across = (rows * cos - cols * sin + 9 * smooth_noise(rng, size, size / 3)) / 3
    along = (cols * cos + rows * sin) / 28
    # Noise stretched along the fibres: a look-up in a random texture.
    texture = cv2.GaussianBlur(rng.standard_normal((256, 256), dtype=np.float32), (0, 0), 0.9) * 3
    found = cv2.remap(texture, along % 256, across % 256, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.clip(0.45 + 0.3 * found, 0, 1.3)


def stroma(rng: np.random.Generator, size: int, angle: float, stain: Stain) -> tuple[np.ndarray, np.ndarray]:
    """Hematoxylin and eosin ``(size, size)`` of all that is no nucleus: fibres, lumen, smears, shadows, red cells."""
    tissue = np.clip(1.0 + smooth_noise(rng, size, size / 2.5) * 1.2, 0, 1)
    eosin = tissue * (0.12 + 0.5 * fibres(rng, size, angle) + 0.08 * smooth_noise(rng, size, 40))
    hematoxylin = tissue * (0.07 + 0.03 * smooth_noise(rng, size, 5) + 0.04 * smooth_noise(rng, size, 25))
    hematoxylin += 0.4 * stain.smear * np.clip(smooth_noise(rng, size, 22) - 0.5, 0, 1.2)
    share = (size / 256) ** 2
    hematoxylin += _blobs(rng, size, rng.poisson(12 * share), (6, 13), 0.6, blur=4.0)  # nuclei far out of focus
    hematoxylin += _blobs(rng, size, rng.poisson(22 * share), (1, 2.5), 0.8, blur=0.7)  # debris
    eosin += _red_cells(rng, size, rng.poisson(rng.uniform(0, 14) * share))
    return np.clip(hematoxylin, 0, None), np.clip(eosin, 0, None)


def develop(hematoxylin: np.ndarray, eosin: np.ndarray, stain: Stain, rng: np.random.Generator) -> np.ndarray:
    """The picture ``(H, W, 3)`` uint8 RGB of two stain maps, by Beer and Lambert's law, with defocus and noise."""
    amounts = np.dstack([hematoxylin * stain.hematoxylin_amount, eosin * stain.eosin_amount]).astype(np.float32)
    # The section is not equally thick everywhere, so no threshold fits a whole image.
    amounts *= np.clip(1 + 0.22 * smooth_noise(rng, len(eosin), len(eosin) / 1.5), 0.6, 1.5)[..., None]
    amounts = cv2.GaussianBlur(amounts, (0, 0), stain.blur)
    density = amounts @ np.stack([stain.hematoxylin, stain.eosin]).astype(np.float32)
    light = rng.uniform(232, 248, 3).astype(np.float32) * (
        1 + 0.03 * smooth_noise(rng, len(eosin), len(eosin))[..., None]
    )
    noise = rng.standard_normal(density.shape, dtype=np.float32) * np.float32(stain.noise)
    return np.clip(light * np.exp(-density) + noise, 0, 255).astype(np.uint8)


def _blobs(
    rng: np.random.Generator, size: int, count: int, radius: tuple[float, float], amount: float, blur: float
) -> np.ndarray:
    canvas = np.zeros((size, size), np.float32)
    for _ in range(count):
        centre = tuple(int(x) for x in rng.integers(0, size, 2))
        axes = tuple(max(1, round(x)) for x in rng.uniform(*radius, 2))
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, amount * rng.uniform(0.5, 1.2), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(canvas, (0, 0), blur)


def _red_cells(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """Red blood cells: discs of eosin with a paler centre."""
    canvas = np.zeros((size, size), np.float32)
    for _ in range(count):
        centre, radius = tuple(int(x) for x in rng.integers(0, size, 2)), int(rng.integers(8, 12))
        cv2.circle(canvas, centre, radius, rng.uniform(0.45, 0.75), -1, cv2.LINE_AA)
        cv2.circle(canvas, centre, radius // 2, rng.uniform(0.25, 0.45), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(canvas, (0, 0), 1.2)


def _unit(vector: np.ndarray) -> np.ndarray:
    vector = np.clip(vector, 0.01, None)
    return vector / np.linalg.norm(vector)
