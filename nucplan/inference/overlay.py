"""A picture for people: the image, the outlines of its nuclei in class colours, and a legend with counts."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from nucplan.inference.panels import key
from nucplan.instances import Instances
from nucplan.markers.known import known_markers
from nucplan.palette import class_colour

# Pictures are enlarged, at most three times, to about this side, so that a 1 px outline hides little of a nucleus.
READABLE_SIDE = 1000
# Grey and multiplex images are dimmed by this factor: outlines must be seen on the brightest nuclei as well.
DIMMED = 0.6
PLANE_COLOURS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255)}


def draw_overlay(
    image: np.ndarray, instances: Instances, class_names: Sequence[str], markers: Sequence[str] | None = None
) -> np.ndarray:
    """Draw outlines and a legend.

    Parameters
    ----------
    image : (H, W) or (H, W, C), any integer or float dtype
        RGB of 8 bits is shown as it is; anything else is stretched between percentiles, three channels at most.
    instances : Instances
    class_names : sequence of str
        Names of the classes 1..K.
    markers : sequence of str, optional
        Of the planes of a multiplex image, three at most: they are dimmed and named in the legend.

    Returns
    -------
    (H', W', 3) uint8 RGB; H' and W' are the image, enlarged 1 to 3 times, plus the legend below.
    """
    if image.shape[:2] != instances.labels.shape:
        raise ValueError(f"image {image.shape[:2]} and label map {instances.labels.shape} differ in size")
    factor = int(np.clip(round(READABLE_SIDE / max(image.shape[:2])), 1, 3))
    size = (image.shape[1] * factor, image.shape[0] * factor)
    shown = as_rgb(image) if markers is None else (as_rgb(image) * DIMMED).astype(np.uint8)
    picture = cv2.resize(shown, size, interpolation=cv2.INTER_CUBIC)
    labels = cv2.resize(instances.labels, size, interpolation=cv2.INTER_NEAREST)
    paint_outlines(picture, labels, instances.table.class_id)
    counts = np.bincount(instances.table.class_id, minlength=len(class_names) + 1)[1:]
    below = [] if markers is None else [planes_key(markers, picture.shape[1])]
    return np.concatenate([picture, legend(class_names, counts, picture.shape[1]), *below])


def shown_planes(image: np.ndarray, markers: Sequence[str]) -> list[int]:
    """Which planes of a multiplex image (H, W, C) a picture shows: three with a signal, of the nuclei among them."""
    return with_nuclei([i for i in range(image.shape[2]) if image[..., i].any()], markers) or [0]


def with_nuclei(planes: Sequence[int], markers: Sequence[str]) -> list[int]:
    """The first three planes, but one that stains all nuclei, if there is any, among them and in green.

    Outlines can only be judged where nuclei are seen, and of the three colours the eye is best at green.
    """
    known = known_markers()
    nuclear = [i for i in planes if (marker := known.find(markers[i])) is not None and marker.role == "nuclear"][:1]
    others = [i for i in planes if i not in nuclear][: len(PLANE_COLOURS) - len(nuclear)]
    return [*others[:1], *nuclear, *others[1:]]


def planes_key(markers: Sequence[str], width: int) -> np.ndarray:
    """White strip (h, ``width``, 3) with the colour of each plane that `as_rgb` shows; one plane is grey."""
    if len(markers) == 1:
        return key([(f"plane: {markers[0]}", None)], width)
    planes = zip(markers, PLANE_COLOURS.items(), strict=False)
    return key([("planes:", None), *((f"{name} ({colour})", rgb) for name, (colour, rgb) in planes)], width)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Any image as (H, W, 3) uint8: grey is repeated, of many channels the first three are taken and stretched."""
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return np.ascontiguousarray(image)
    channels = image[..., None] if image.ndim == 2 else image[..., :3]
    stretched = [_stretched(channels[..., c]) for c in range(channels.shape[2])]
    if len(stretched) == 1:
        stretched *= 3
    stretched += [np.zeros_like(stretched[0])] * (3 - len(stretched))
    return np.stack(stretched, axis=-1)


def _stretched(channel: np.ndarray) -> np.ndarray:
    # A thinned-out sample is enough for percentiles of a large image.
    stride = max(1, max(channel.shape) // 1000)
    low, high = np.percentile(channel[::stride, ::stride], (0.5, 99.8))
    scale = 255 / max(float(high) - float(low), 1e-6)
    return np.clip((channel.astype(np.float32) - np.float32(low)) * np.float32(scale), 0, 255).astype(np.uint8)


def paint_outlines(picture: np.ndarray, labels: np.ndarray, class_id: np.ndarray, width: int = 1) -> None:
    """Draw, in place, the outline of each nucleus in the colour of its class.

    Parameters
    ----------
    picture : (H, W, 3) uint8
    labels : (H, W) int
        Ids 1..N, 0 background.
    class_id : (N,) int
        Class, from 1, of each nucleus.
    width : int
        Of the line, px; drawn inside of the nuclei, so that two that touch show two lines.
    """
    edge = _inner_edge(labels)
    for _ in range(width - 1):
        edge |= _inner_edge(np.where(edge, 0, labels))
    colours = np.array([(0, 0, 0), *(class_colour(int(k)) for k in class_id)], np.uint8)
    picture[edge] = colours[labels[edge]]


def _inner_edge(labels: np.ndarray) -> np.ndarray:
    """Pixels of nuclei that have a neighbour of another label, (H, W) bool."""
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    return edge & (labels > 0)


def legend(class_names: Sequence[str], counts: np.ndarray, width: int) -> np.ndarray:
    """White strip (h, ``width``, 3) with a swatch, the name and the count of each class, wrapped to ``width``."""
    names = zip(class_names, counts, strict=True)
    return key([(f"{name}: {count}", class_colour(k)) for k, (name, count) in enumerate(names, start=1)], width)
