"""The part of the trainer that brings patches: of images, or together with the stored maps of a frozen encoder."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from torch import Tensor

from nucplan import augmentation
from nucplan.cached_loading import CachedPatchDataset
from nucplan.feature_cache import FeatureCache, image_shapes
from nucplan.files import read_json
from nucplan.layout import Dataset, resolve_roots
from nucplan.loading import PatchDataset, PatchIndex, batches
from nucplan.plans import panel_decision
from nucplan.progress import progress

VALIDATION_BATCHES = 4


class PatchLoading:
    """Mixed into `trainers.base.NucleusTrainer`."""

    @property
    def caches_features(self) -> bool:
        """Whether the plan stores the maps of its encoder, and this config's do not change in training."""
        if not self.plan["decisions"].get("feature_cache", {}).get("value"):
            return False
        manager, configuration = self.plans_manager, self.configuration_manager
        channels = determine_num_input_channels(manager, configuration, self.dataset_json)
        with torch.device("meta"):
            network = self.build_network_architecture(
                manager, configuration, channels, self.label_manager.num_segmentation_heads
            )
        return network.maps_are_fixed

    def get_dataloaders(self):
        training, validation = self.do_split()
        per_epoch = self.num_iterations_per_epoch * self.batch_size
        samples = range(self.current_epoch * per_epoch, self.num_epochs * per_epoch)
        train = self._patches(training, per_epoch, augment=True)
        return self._batches(train, samples, self.workers), self._validation_batches(validation)

    @cached_property
    def feature_cache(self) -> FeatureCache | None:
        """The stored maps of the fold's images, where they are; what is missing is computed when they are asked for."""
        return self._filled_cache() if self.caches_features else None

    def _filled_cache(self) -> FeatureCache:
        cases = [case for part in self.do_split() for case in part]
        dataset = Dataset(resolve_roots(), self.plans_manager.dataset_name)
        made_from = read_json(dataset.made_from(self.configuration_manager.data_identifier))
        patch = self.configuration_manager.patch_size[0]
        # By content where it is known: a file that was only touched is the same image.
        data = [made_from.get("content", made_from["raw"]), made_from["plan"]]
        cache = FeatureCache.of(self.network, patch, data, dataset.preprocessed, self.device)
        reader = self.dataset_class(self.preprocessed_dataset_folder, cases)
        if missing := cache.missing(cases):
            size = cache.layout.bytes(image_shapes(reader, missing)) / 2**30
            others = cache.bytes_of_others() / 2**30
            beside = f"; those of other encoders or plans beside it take {others:.3g} GiB" if others else ""
            self.print_to_log_file(
                f"The features of {len(missing)} images are computed once: {size:.3g} GiB in {cache.folder}{beside}",
                also_print_to_console=True,
                add_timestamp=False,
            )
        cache.fill(self.network, reader, cases, self.device, progress)
        return cache

    def _patches(self, cases, per_epoch: int, augment: bool) -> PatchDataset:
        reader = self.dataset_class(self.preprocessed_dataset_folder, cases)
        ignore, patch = self.label_manager.ignore_label, self.configuration_manager.patch_size[0]
        index = PatchIndex.build(reader, cases, patch, self.decision("oversampling"), ignore)
        panel = panel_decision(self.plans_manager.plans)
        if self.feature_cache is not None:
            colours = augmentation.colour_transforms(panel) if augment else None
            return CachedPatchDataset(reader, index, self.feature_cache, colours, self.seed, per_epoch)
        margin = augmentation.margin(patch) if augment else 0
        transforms = augmentation.training_transforms(patch, panel) if augment else None
        return PatchDataset(reader, index, patch, margin, transforms, self.seed, per_epoch)

    def _batches(self, dataset: PatchDataset, samples: range, workers: int):
        return batches(dataset, self.batch_size, samples, workers, pin_memory=self.device.type == "cuda")

    def _validation_batches(self, cases):
        # The same patches every epoch, so that the curve shows the network and not the draw.
        dataset = self._patches(cases, VALIDATION_BATCHES * self.batch_size, augment=False)
        fixed = list(self._batches(dataset, range(VALIDATION_BATCHES * self.batch_size), 0))
        while True:
            yield from fixed

    def _stored_maps(self, batch: dict[str, Any]) -> list[Tensor] | None:
        """The encoder's maps (B, D, h, w) in the type that the pass computes in, or None where they are not stored."""
        if "encoder_maps" not in batch:
            return None
        device = self.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        stored = (maps.to(self.device, non_blocking=True) for maps in batch["encoder_maps"])
        return [maps.to(dtype).permute(0, 3, 1, 2) for maps in stored]
