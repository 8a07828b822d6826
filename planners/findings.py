"""What a user should know about the data before training on them, in whole sentences."""

from __future__ import annotations

from collections.abc import Mapping

from planners.fingerprint import Fingerprint
from planners.rules import FAITHFUL, FOREGROUND_DECODER, Decision


def findings(statistics: Fingerprint, decisions: Mapping[str, Decision]) -> list[str]:
    """Annotation faults, and decisions that could not give the data what they need; [] where all is well."""
    return [*_unfaithful(decisions), *_merged(decisions), *_too_large(decisions), *_faults(statistics)]


def _unfaithful(decisions: Mapping[str, Decision]) -> list[str]:
    ceiling = decisions["oracle_ceiling"].value
    if ceiling >= FAITHFUL:
        return []
    return [
        f"The labels cannot be represented at scale {decisions['scale'].value}: decoded from perfect maps they reach "
        f"PQ {ceiling:.3f} instead of {FAITHFUL} or more, so no model can score higher; look for annotations in "
        "several pieces, specks, and nuclei of a few pixels."
    ]


def _merged(decisions: Mapping[str, Decision]) -> list[str]:
    ceiling = decisions["oracle_ceiling"].inputs["ceilings"][FOREGROUND_DECODER]["clean"]
    if ceiling >= FAITHFUL:
        return []
    return [
        f"Networks without a boundary head (config baseline) reach PQ {ceiling:.3f} at best: foreground alone does not "
        "part nuclei that touch without a waist."
    ]


def _too_large(decisions: Mapping[str, Decision]) -> list[str]:
    inputs = decisions["batch_size"].inputs
    if inputs["predicted_bytes"] <= inputs["target_bytes"]:
        return []
    return [
        f"A training step is expected to take {inputs['predicted_bytes'] / 2**30:.1f} GiB, more than the "
        f"{inputs['target_bytes'] / 2**30:.1f} GiB that this device has for it; set a smaller patch_size."
    ]


def _faults(statistics: Fingerprint) -> list[str]:
    faults, sentences = statistics.faults, []
    examples = faults["examples"]
    if faults["pieces"]:
        sentences.append(f"In several pieces: {_counted(faults['pieces'], 'nucleus', 'nuclei', examples['pieces'])}.")
    if faults["specks"]:
        specks = _counted(faults["specks"], "nucleus", "nuclei", examples["specks"])
        sentences.append(f"Under 2 % of the usual area: {specks}.")
    if empty := faults["empty_images"]:
        sentences.append(f"Without a nucleus: {_counted(len(empty), 'image', 'images', empty)}.")
    if pairs := [" and ".join(pair) for pair in faults["near_duplicates"]]:
        sentences.append(
            f"Alike, but of different groups: {_counted(len(pairs), 'pair', 'pairs', pairs)} of images; "
            "give them one group, or validation will see training images."
        )
    return sentences


def _counted(number: int, one: str, many: str, examples: list[str]) -> str:
    more = ", ..." if number > 3 else ""
    return f"{number} {one if number == 1 else many} ({', '.join(examples[:3])}{more})"
