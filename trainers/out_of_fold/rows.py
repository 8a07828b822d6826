"""The rows of a comparison, as counts: label maps as they are stored, and maps decoded in another way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.progress import Progress
from trainers.out_of_fold.runs import Models
from trainers.out_of_fold.scores import OutOfFoldScores

if TYPE_CHECKING:
    from nucplan.decoder_plan import DecoderPlan
    from nucplan.metrics.image import ImageCounts

SAME_DECODER = "decoder of baseline"


def under_same_decoder(rows: Iterable[str]) -> list[str]:
    """Those of the rows that show a config a second time, under the decoder of the baseline."""
    return [row for row in rows if row.endswith(f", {SAME_DECODER}")]


def decoded_rows(anew: Mapping[str, DecoderPlan], same: Mapping[str, DecoderPlan]) -> dict[str, dict[str, DecoderPlan]]:
    """For each config the rows that need its maps, and the decoder of each."""
    rows: dict[str, dict[str, DecoderPlan]] = {config: {config: plan} for config, plan in anew.items()}
    for config, plan in same.items():
        rows.setdefault(config, {})[f"{config}, {SAME_DECODER}"] = plan
    return rows


def row_counts(
    scores: OutOfFoldScores,
    models: Models,
    folds: Sequence[int],
    rows: Mapping[str, Mapping[str, DecoderPlan]],
    device_name: str,
    progress: Progress,
) -> dict[str, dict[int, list[ImageCounts]]]:
    """Counts by row and fold: of the maps where ``rows`` has a decoder, else of the stored label maps."""
    found = {}
    for name in (name for name in models if name not in rows.get(name, {})):
        of_files = progress(folds, f"Scoring {name}")
        found[name] = {fold: scores.of_files(models[name], fold) for fold in of_files}
    for config, decoders in rows.items():
        found |= decoded_counts(scores, models[config], folds, decoders, device_name, progress)
    # The configs first: the others are compared with the first row.
    return {name: found[name] for name in dict.fromkeys([*models, *found])}


def decoded_counts(
    scores: OutOfFoldScores,
    model: Path,
    folds: Sequence[int],
    decoders: Mapping[str, DecoderPlan],
    device_name: str,
    progress: Progress,
) -> dict[str, dict[int, list[ImageCounts]]]:
    """Counts by row and fold of one model, whose folds are predicted once for all the decoders."""
    # Imported on use: torch takes seconds, and stored label maps are scored without it.
    from nucplan.devices import choose_device
    from trainers.out_of_fold.maps import open_fold

    device = choose_device(device_name)
    found: dict[str, dict[int, list[ImageCounts]]] = {row: {} for row in decoders}
    for fold in progress(folds, f"Decoding {', '.join(decoders)}"):
        opened = open_fold(scores.dataset, model, fold, device)
        for row, counts in zip(decoders, scores.of_decoders(opened, list(decoders.values())), strict=True):
            found[row][fold] = counts
    return found
