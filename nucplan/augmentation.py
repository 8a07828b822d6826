"""Light geometric and colour augmentation of one patch; instance ids pass through unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import Tensor

UNLABELLED = -1
SCALING = (0.8, 1.25)


class ChannelDropout(ImageOnlyTransform):
    """Sets each channel to 0, as if it were absent, with a probability drawn from ``p``, never all that are there."""

    def __init__(self, p: Sequence[float] = (0.1, 0.1)) -> None:
        super().__init__()
        self.p = p

    def get_parameters(self, **data_dict: Tensor) -> dict[str, Tensor]:
        low, high = self.p
        present = is_present(data_dict["image"])
        kept = torch.rand(len(present)) >= low + (high - low) * torch.rand(())
        if present.any() and not (kept & present).any():
            there = present.nonzero().flatten()
            kept[there[torch.randint(len(there), (1,))]] = True
        return {"kept": kept}

    def _apply_to_image(self, img: Tensor, kept: Tensor) -> Tensor:
        return img * kept[:, None, None]


class OnPresentChannels(BasicTransform):
    """Another transform on the channels that are there; those that are 0 everywhere are absent and stay exactly 0."""

    def __init__(self, transform: BasicTransform) -> None:
        super().__init__()
        self.transform = transform

    def apply(self, data_dict: dict[str, Tensor], **_: Tensor) -> dict[str, Tensor]:
        image = data_dict["image"]
        present = is_present(image)
        # Without any, the labels are still to be transformed.
        shown = image[present] if present.any() else image[:1]
        found = self.transform(**{**data_dict, "image": shown})
        result = torch.zeros((len(image), *found["image"].shape[1:]), dtype=image.dtype)
        if present.any():
            result[present] = found["image"]
        return {**found, "image": result}


def is_present(image: Tensor) -> Tensor:
    """(C,) bool: which channels of an image (C, ...) are not 0 everywhere."""
    return (image != 0).flatten(1).any(1)


class RelativeNoise(ImageOnlyTransform):
    """Adds Gaussian noise whose variance is up to ``share`` of the patch's own: the same for any normalisation."""

    def __init__(self, share: float = 0.05) -> None:
        super().__init__()
        self.share = share

    def get_parameters(self, **data_dict: Tensor) -> dict[str, Tensor]:
        return {"share": self.share * torch.rand(()), "noise": torch.randn(data_dict["image"].shape)}

    def _apply_to_image(self, img: Tensor, share: Tensor, noise: Tensor) -> Tensor:
        return img + noise * (share * img.var()).sqrt()


def margin(patch_size: int) -> int:
    """Pixels that a patch needs on every side so that rotation and zoom draw on real image."""
    return math.ceil(patch_size * (math.sqrt(2) * max(SCALING[1], 1 / SCALING[0]) - 1) / 2)


def training_transforms(patch_size: int, panel: Mapping[str, Any] | None = None) -> BasicTransform:
    """Augmentation of a patch with a margin: image (C, P + 2m, P + 2m) float32, segmentation (2, ., .) int32.

    The result has the size ``patch_size``. The drawn parameters come from the global generators of torch and numpy,
    which the loader seeds for every sample. Colour changes differ between channels, which on RGB is a change of
    stain. ``panel`` is the decision "channels" of multiplex images: these also lose channels, and channels that are
    0 everywhere stay so.
    """
    transforms: list[BasicTransform] = [
        SpatialTransform(
            (patch_size, patch_size),
            patch_center_dist_from_border=0,
            random_crop=False,
            p_rotation=0.3,
            p_scaling=0.3,
            scaling=SCALING,
            p_synchronize_scaling_across_axes=1,
            mode_seg="nearest",
            border_mode_seg="constant",
            padding_value_seg=UNLABELLED,
        ),
        RandomTransform(Rot90Transform(1, allowed_axes={0, 1}), apply_probability=0.75),
        MirrorTransform(allowed_axes=(0, 1)),
        RandomTransform(GaussianBlurTransform((0.5, 1.0), synchronize_channels=True), apply_probability=0.15),
        RandomTransform(RelativeNoise(), apply_probability=0.15),
        RandomTransform(MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), False, 1.0), apply_probability=0.3),
        RandomTransform(ContrastTransform(BGContrast((0.75, 1.25)), True, False, 1.0), apply_probability=0.3),
        RandomTransform(GammaTransform(BGContrast((0.7, 1.5)), 0, False, 1.0, 1), apply_probability=0.2),
    ]
    if panel is None:
        return ComposeTransforms(transforms)
    return ComposeTransforms([OnPresentChannels(ComposeTransforms(transforms)), ChannelDropout(panel["dropout"])])
