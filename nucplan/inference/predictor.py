"""From a picture to nuclei with an ensemble of trained folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nucplan import __version__
from nucplan.checkpoints import load_checkpoint
from nucplan.datasets.raw import check_pixel_size, parse_labels
from nucplan.decoder_plan import DecoderPlan, needs_boundary
from nucplan.errors import NucplanError
from nucplan.files import file_hash, read_json
from nucplan.inference.agreement import agreement, compact
from nucplan.inference.choice import Choice, read_choice, with_decoder
from nucplan.inference.mean_maps import MeanMaps
from nucplan.inference.panel_reader import PanelReader
from nucplan.inference.placement import at_image_grid
from nucplan.inference.tiles import has_boundary, predict_probabilities
from nucplan.instances import Instances, NucleusProbabilities, decode, relabelled
from nucplan.layout import CHOICE, CONFIGURATION, FINAL
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.plans import decision
from nucplan.preprocessing import ImagePreprocessor

# Beside the folds of a model folder; the last one in exported models alone.
PLANS, DATASET, ORIGIN = "plans.json", "dataset.json", "origin.json"
# Tiles of one forward pass hold at most this many pixels, which keeps activations of any plan under 2 GiB.
PIXELS_PER_PASS = {"cpu": 8 * 128**2, "cuda": 16 * 256**2}


class Prediction(NamedTuple):
    """Nuclei of a picture and the maps that they were decoded from.

    Attributes
    ----------
    instances : Instances
        At the size of the picture.
    maps : NucleusProbabilities
        Mean of the networks, at the planned scale.
    region : list of (start, stop)
        Rows and columns of the picture that the maps cover.
    """

    instances: Instances
    maps: NucleusProbabilities
    region: list[tuple[int, int]]


@dataclass
class Predictor:
    """An ensemble and everything it needs from its plan.

    Attributes
    ----------
    networks
        In evaluation mode, on ``device``; their probabilities are averaged, those of boundaries over the networks that
        predict them.
    plans, dataset_json
        As they lie in the model folder.
    device
        Where tiles are computed.
    mirror
        Average over the four mirrorings of each tile.
    record
        What made the predictions, for the record beside them.
    """

    networks: Sequence[nn.Module]
    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    device: torch.device
    mirror: bool = False
    record: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device, mirror: bool = False) -> Predictor:
        """Load all finished folds of a model folder.

        Raises
        ------
        NucplanError
            If no fold is finished, or a file of the folder is missing or damaged.
        """
        folds = trained_folds(folder)
        plans, dataset_json = read_json(folder / PLANS), read_json(folder / DATASET)
        networks = [load_network(path, device) for path in folds]
        return cls(networks, plans, dataset_json, device, mirror, {**made_by(folder, folds), "mirror": mirror})

    @classmethod
    def from_choice(cls, results: Path, device: torch.device, mirror: bool = False) -> Predictor:
        """Load the ensemble that ``inference.json`` in the folder of all models of a dataset names.

        Raises
        ------
        NucplanError
            If that file or a network that it names is missing, damaged or another one than it was.
        """
        choice = read_choice(results)
        checkpoints = choice.checkpoints(results)
        networks = [load_network(path, device) for path in checkpoints]
        folder = choice.folder(results)
        plans = with_decoder(read_json(folder / PLANS), choice.decoder, any(map(has_boundary, networks)))
        record = {**chosen_by(choice, results), "mirror": mirror}
        return cls(networks, plans, read_json(folder / DATASET), device, mirror, record)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes 1..K, in order."""
        return parse_labels(self.dataset_json["labels"], Path("dataset.json"))[0]

    @property
    def channels(self) -> int:
        """Of the pictures of the training data."""
        return len(self.dataset_json["channel_names"])

    @property
    def panel_reader(self) -> PanelReader | None:
        """What reads multiplex images for these networks; None for grey and RGB."""
        return PanelReader.of(self.plans, self.dataset_json)

    @property
    def white_is_65535(self) -> bool:
        """Whether the plan gives images a fixed scale, which is that of 8 bits."""
        return self._white == 255

    @property
    def _white(self) -> int | None:
        """White, where the plan gives images a fixed scale, by itself or by the colours of an encoder."""
        if "RGBTo01Normalization" in self._schemes:
            return 255
        colours = self.plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"].get("input_mean")
        return None if colours is None else 255 if max(colours) <= 255 else 65535

    @property
    def _schemes(self) -> Sequence[str]:
        return PlansManager(self.plans).get_configuration(CONFIGURATION).normalization_schemes

    @property
    def mpp(self) -> float | None:
        """Microns per pixel of the training data, where known."""
        size = (self.dataset_json.get("nuclei") or {}).get("mpp")
        check_pixel_size(size, DATASET)
        return size

    @property
    def has_boundary(self) -> bool:
        """Whether any of the networks predicts boundaries."""
        return any(map(has_boundary, self.networks))

    @property
    def gate_strength(self) -> float:
        """Alpha of the boundary gate, the mean over the networks; 0 where they have none."""
        return float(np.mean([getattr(network, "gate_strength", 0.0) for network in self.networks]))

    @property
    def decoder_plan(self) -> DecoderPlan:
        """How the maps of these networks become nuclei: with the boundary where they predict one."""
        return DecoderPlan.from_dict(self._decision("decoder" if self.has_boundary else "foreground_decoder"))

    def __call__(self, image: np.ndarray, progress=iter) -> Instances:
        """Nuclei of one picture; see `predict`."""
        return self.predict(image, progress).instances

    def predict(self, image: np.ndarray, progress=iter) -> Prediction:
        """Nuclei of one picture, and what they were decoded from.

        With several networks each nucleus has a confidence, for which the maps of each are decoded, too.

        Parameters
        ----------
        image
            (H, W) or (H, W, C), uint8 or uint16, with the channels and the pixel size of the training data.
        progress
            Wraps the rows of tiles of each network, for a progress bar.

        Returns
        -------
        Prediction
            Black margins hold no nuclei, and neither does an all-black picture.

        Raises
        ------
        NucplanError
            If the number of channels is not that of the training data.
        """
        alone: list[np.ndarray] = []

        def look(maps: NucleusProbabilities) -> None:
            if len(self.networks) > 1:
                alone.append(compact(decode(maps, self._decoder_of(maps)).labels))

        maps, region = self.probabilities(image, progress, look)
        instances = decode(maps, self.decoder_plan)
        if alone:
            confidence = agreement(instances.labels, alone)
            instances = Instances(instances.labels, replace(instances.table, confidence=confidence))
        return Prediction(_in_picture(instances, region, image.shape[:2]), maps, region)

    def probabilities(
        self, image: np.ndarray, progress=iter, look: Callable[[NucleusProbabilities], None] = lambda _maps: None
    ) -> tuple[NucleusProbabilities, list[tuple[int, int]]]:
        """Probability maps (h, w) at the planned scale, and the rows and columns of the picture that they cover.

        The networks are not asked about an all-black picture: its maps, at its own scale, are certain background.
        ``look`` is shown the maps of each network alone.
        """
        self._refuse_other_channels(image)
        network_input, region = self._preprocess(image) if image.any() else (None, [(0, n) for n in image.shape[:2]])
        mean = MeanMaps()
        for network in self.networks:
            if network_input is None:
                maps = self._background(image.shape[:2], has_boundary(network))
            else:
                maps = self._of_network(network, network_input, progress)
            look(maps)
            mean.add(maps)
        return mean.mean(), region

    def _of_network(self, network: nn.Module, network_input: np.ndarray, progress) -> NucleusProbabilities:
        patch = self._decision("patch_size")[0]
        return predict_probabilities(
            network,
            network_input,
            tile=patch,
            overlap=self._decision("tile_overlap"),
            batch_size=max(1, PIXELS_PER_PASS[self.device.type] // patch**2),
            device=self.device,
            mirror=self.mirror,
            progress=progress,
        )

    def decode(
        self,
        maps: NucleusProbabilities,
        region: list[tuple[int, int]],
        shape: tuple[int, int],
        plan: DecoderPlan | None = None,
    ) -> Instances:
        """Nuclei at the size (H, W) of the picture from what `probabilities` returned, by another plan where given."""
        return _in_picture(decode(maps, plan or self.decoder_plan), region, shape)

    def _decision(self, name: str) -> Any:
        return decision(self.plans, name)

    def _decoder_of(self, maps: NucleusProbabilities) -> DecoderPlan:
        """How the maps of one network are decoded: without the boundary where it has none and others do."""
        plan = self.decoder_plan
        if maps.boundary is None and needs_boundary(plan.name):
            return DecoderPlan.from_dict(self._decision("foreground_decoder"))
        return plan

    def _background(self, shape: tuple[int, int], boundary: bool) -> NucleusProbabilities:
        semantic = np.zeros((1 + len(self.class_names), *shape), np.float16)
        semantic[0] = 1
        return NucleusProbabilities(semantic, np.zeros(shape, np.float16) if boundary else None)

    def _refuse_other_channels(self, image: np.ndarray) -> None:
        expected, found = self.channels, np.atleast_3d(image).shape[2]
        if found != expected:
            raise NucplanError(
                f"The model was trained on images of {expected} channel(s), this one has {found}; "
                "convert it, or take the model that fits."
            )

    def _preprocess(self, image: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
        channels_first = np.atleast_3d(image).transpose(2, 0, 1)[:, None]
        manager = PlansManager(self.plans)
        # White is white in 8 and in 16 bits.
        if self._white == 255 and image.dtype == np.uint16:
            channels_first = (channels_first / 257).round().astype(np.uint8)
        elif self._white == 65535 and image.dtype == np.uint8:
            channels_first = channels_first * np.uint16(257)
        data, _, properties = ImagePreprocessor(verbose=False).run_case_npy(
            channels_first,
            None,
            {"spacing": [999, 1, 1]},
            manager,
            manager.get_configuration(CONFIGURATION),
            self.dataset_json,
        )
        return np.ascontiguousarray(data[:, 0]), [
            tuple(map(int, side)) for side in properties["bbox_used_for_cropping"][1:]
        ]


def _in_picture(instances: Instances, region: list[tuple[int, int]], shape: tuple[int, int]) -> Instances:
    labels = at_image_grid(instances.labels, region, shape)
    return instances if labels is instances.labels else relabelled(instances, labels)


def trained_folds(folder: Path) -> list[Path]:
    """The checkpoints of the finished folds of a model folder, in order.

    Raises
    ------
    NucplanError
        If there is none.
    """
    folds = sorted(folder.glob(f"fold_*/{FINAL}"))
    if not folds:
        raise NucplanError(f"{folder} has no finished fold (fold_*/{FINAL}); train one first with nucplan_train.")
    return folds


def made_by(folder: Path, folds: Sequence[Path]) -> dict[str, Any]:
    """What tells a model folder from others, of this or another training: name, version and hashes of its files.

    An exported model has the name of the folder that it comes from, wherever it lies.
    """
    exported = read_json(folder / ORIGIN) if (folder / ORIGIN).is_file() else None
    there = folder.resolve()
    found = {
        "nucplan": __version__,
        "model": f"{there.parent.name}/{there.name}" if exported is None else exported["model"],
        "folds": {path.parent.name: file_hash(path) for path in folds},
        "plans": file_hash(folder / PLANS),
        "dataset": file_hash(folder / DATASET),
    }
    return found if exported is None else found | {"exported_from": exported}


def chosen_by(choice: Choice, results: Path) -> dict[str, Any]:
    """What tells the ensemble of a choice from others, as `made_by` does for the folds of one model."""
    folder = choice.folder(results)
    return {
        "nucplan": __version__,
        "model": f"{results.resolve().name}/{CHOICE}",
        "folds": dict(choice.weights),
        "plans": file_hash(folder / PLANS),
        "dataset": file_hash(folder / DATASET),
        "decoder": choice.decoder.to_dict(),
    }


def refuse_foreign(content: dict[str, Any], checkpoint: Path) -> None:
    """Do nothing, or refuse what `nucplan.checkpoints.load_checkpoint` read.

    Raises
    ------
    NucplanError
        If nucplan did not write it.
    """
    if "network_kwargs" not in content:
        raise NucplanError(f"{checkpoint} is not a checkpoint of nucplan; train the fold with nucplan_train.")


def load_network(checkpoint: Path, device: torch.device) -> NucleusNet:
    """The network of one checkpoint, in evaluation mode."""
    content = load_checkpoint(checkpoint, device)
    refuse_foreign(content, checkpoint)
    network = NucleusNet(**content["network_kwargs"])
    network.load_state_dict(content["network_weights"])
    return network.to(device).eval()
