"""Horizontal and vertical maps: what HoVer-Net and CellViT learn of a nucleus, and how nuclei are read from them.

Every pixel of a nucleus says how far it lies from the centre of mass, to the left and right and above and below, from
-1 at one side of the nucleus to 1 at the other. Where two nuclei touch, the map falls from 1 to -1 within a pixel, and
its derivative shows the cut (Graham et al., HoVer-Net, Medical Image Analysis 2019, sections 3.1 and 3.3).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import cv2
import numpy as np
from skimage.segmentation import relabel_sequential

from nucplan.instances import Instances, fill_holes, nuclei_of_basins
from nucplan.shapes import measure
from nucplan.watershed import find_basins

# Pixel size at which the lengths of the method are given: a scan at 40x.
REFERENCE_MPP = 0.25
# The largest Sobel kernel of OpenCV.
LARGEST_KERNEL = 31


class HVMaps(NamedTuple):
    """Network output of one image.

    Attributes
    ----------
    foreground : (H, W) float32 or float16
        Probability of a nucleus.
    hv : (2, H, W) float32 or float16
        Horizontal and vertical distance to the centre of mass, -1 to 1; what lies outside of nuclei does not count.
    types : (K + 1, H, W) float32 or float16
        Softmax over background (0) and the classes 1..K.
    """

    foreground: np.ndarray
    hv: np.ndarray
    types: np.ndarray


@dataclass(frozen=True)
class HVPlan:
    """The numbers of `decode_hv`. Fixed ones: what else the image shows has no part in a nucleus.

    Chosen by label maps of H&E and fluorescence images that were made into targets and read back: as they are,
    blurred (standard deviation 1 and 2 pixels), and with smooth noise on top (0.1 and 0.2). The numbers of HoVer-Net
    stand beside.

    Attributes
    ----------
    kernel : int
        Odd side in pixels of the Sobel kernel. 9 at 40x: with HoVer-Net's 21 the falls between small nuclei run into
        each other, with 5 the noise of a network parts what is whole; between 7 and 15 little depends on it.
    marker_threshold : float
        Markers are where the fall of both maps is below this share of that between two touching nuclei (HoVer-Net:
        0.4 of a scale that the extremes of a tile set, on which level ground lies at about 0.3). 0.05 loses to noise,
        0.1 to blur.
    opening : int
        Side in pixels of the ellipse by which markers are opened: 3, the smallest that cuts a bridge of a pixel. With
        HoVer-Net's 5 the markers of small nuclei are gone.
    foreground_threshold : float
        A pixel is nuclear where the probability exceeds this: the larger one of the two classes.
    minimum_area : int
        Pixels below which there is no nucleus, and a hole or a part is none: 10 at 40x, as in HoVer-Net (0.6 um2).
    """

    kernel: int = 9
    marker_threshold: float = 0.07
    opening: int = 3
    foreground_threshold: float = 0.5
    minimum_area: int = 10

    @classmethod
    def for_mpp(cls, mpp: float) -> HVPlan:
        """The plan of maps of ``mpp`` microns per pixel: lengths follow the pixel size, areas its square.

        The rules are those of TIAToolbox, kernel odd(20 s + 1) and area ceil(10 s^2) with s = 0.25 / mpp, the first
        with the smaller kernel of this decoder, odd(8 s + 1), at least 3 and at most 31.
        """
        scale = REFERENCE_MPP / mpp
        kernel = min(2 * max(1, round(4 * scale)) + 1, LARGEST_KERNEL)
        return cls(kernel=kernel, minimum_area=int(np.ceil(10 * scale**2)))

    def to_dict(self) -> dict[str, float]:
        """The plan as plain values, ready for JSON."""
        return asdict(self)


def hv_targets(labels: np.ndarray) -> np.ndarray:
    """Horizontal and vertical map of a label map.

    The negative and the positive half of each nucleus are scaled apart, so that its outermost pixels have -1 and 1. A
    nucleus that the image cuts is one of what is seen. The centre of mass is not rounded to a pixel (HoVer-Net does):
    mirrored nuclei have mirrored maps.

    Parameters
    ----------
    labels : (H, W) integer
        Ids in any order, with or without gaps; 0 background.

    Returns
    -------
    (2, H, W) float32
        To the right and down, -1 to 1; 0 outside of nuclei.
    """
    labels = relabel_sequential(np.ascontiguousarray(labels))[0].astype(np.int32, copy=False)
    centroids, _, boxes = measure(labels)
    vertical, horizontal = (
        _signed_reach(labels, np.indices(labels.shape, sparse=True)[axis], centroids[:, axis], boxes[:, axis::2])
        for axis in (0, 1)
    )
    return np.stack([horizontal, vertical])


def _signed_reach(labels: np.ndarray, position: np.ndarray, centre: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Distance to ``centre`` (N,) over that of the end of the nucleus on its side; ``ends`` (N, 2) is half open."""
    distance = (position - np.append(0, centre)[labels]).astype(np.float32)
    reaches = centre - ends[:, 0], ends[:, 1] - 1 - centre
    # Where a nucleus is a pixel wide, both ends are its centre, and the distance is 0.
    before, after = (np.append(1, np.maximum(reach, 1e-6)).astype(np.float32) for reach in reaches)
    distance /= np.where(distance < 0, before[labels], after[labels])
    return np.where(labels > 0, np.clip(distance, -1, 1), np.float32(0))


def decode_hv(maps: HVMaps, plan: HVPlan) -> Instances:
    """Turn horizontal and vertical maps into nuclei, a whole image at once.

    The algorithm is HoVer-Net's: foreground by threshold, Sobel of the maps, markers where neither falls, watershed
    from the markers. Differences: falls are measured on a fixed scale, not between the extremes of the image, hence a
    nucleus is the same whatever else the image shows; a region without marker is a nucleus of its own, as small nuclei
    have none; a part that is too small joins its neighbour; each watershed runs in the box of its region. The class
    of a nucleus is the largest of its mean class probabilities, without background.

    Label maps that are read back from their own targets (pooled PQ; in brackets that of the published steps, on a
    scale between the extremes of the image): H&E of Naylor et al. 2018 .999 (.987), stained tissue and fluorescence
    of BBBC038 .988 (.932) and .991 (.899); the first at half its size .996 (.760).

    Raises
    ------
    ValueError
        If the maps are not of the shapes that `HVMaps` names, with K >= 1.
    """
    _check(maps)
    foreground = maps.foreground > np.float32(plan.foreground_threshold)
    fill_holes(foreground, plan.minimum_area)
    level = 1 - falls(maps.hv, foreground, plan.kernel)
    basins = find_basins(foreground, level, _markers(foreground, level, plan))
    # Markers decide what is parted, so no neck is judged: that is 1.
    return nuclei_of_basins(basins, 1.0, plan.minimum_area, maps.types, maps.foreground)


def falls(hv: np.ndarray, foreground: np.ndarray, kernel: int) -> np.ndarray:
    """How steeply the maps fall where they should rise, the larger one of both: (H, W) float32.

    1 is the fall from 1 to -1 within a pixel, between two nuclei that touch along a straight line; 0 is level ground
    and any rise.

    Parameters
    ----------
    hv : (2, H, W)
    foreground : (H, W) bool
        Outside of it the maps count as 0.
    kernel : int
        Odd side of the Sobel kernel.
    """
    derive, smooth = (weights.ravel() for weights in cv2.getDerivKernels(1, 0, kernel))
    # The derivative across that fall is 1: two times the sum of one half.
    derive, smooth = derive / -derive[kernel // 2 + 1 :].sum() / 2, smooth / smooth.sum()
    horizontal, vertical = (np.multiply(side, foreground, dtype=np.float32) for side in hv)
    found = np.maximum(_filtered(horizontal, derive, smooth), _filtered(vertical, smooth, derive))
    return np.clip(found, 0, 1, out=found)


def _filtered(values: np.ndarray, along_rows: np.ndarray, along_columns: np.ndarray) -> np.ndarray:
    # What lies outside of the image continues it: a nucleus that the border cuts does not fall there.
    return cv2.sepFilter2D(values, cv2.CV_32F, along_rows, along_columns, borderType=cv2.BORDER_REPLICATE)


def _markers(foreground: np.ndarray, level: np.ndarray, plan: HVPlan) -> np.ndarray:
    """Regions within the foreground that do not fall, (H, W) int32 with gaps."""
    inside = (foreground & (level > np.float32(1 - plan.marker_threshold))).view(np.uint8)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (plan.opening, plan.opening))
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, ellipse)
    _, regions, boxes, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    return np.where(boxes[:, cv2.CC_STAT_AREA] < plan.minimum_area, 0, np.arange(len(boxes), dtype=np.int32))[regions]


def _check(maps: HVMaps) -> None:
    shape = maps.foreground.shape
    if len(shape) != 2 or maps.hv.shape != (2, *shape) or maps.types.shape[1:] != shape or len(maps.types) < 2:
        raise ValueError(
            f"maps of shapes {shape}, {maps.hv.shape} and {maps.types.shape} are not (H, W), (2, H, W) and "
            "(K + 1, H, W) with at least two channels"
        )
