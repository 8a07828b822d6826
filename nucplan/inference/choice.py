"""``inference.json``: which trained networks predict together, how their maps are decoded, and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nucplan.decoder_plan import DecoderPlan
from nucplan.errors import NucplanError
from nucplan.files import file_hash, read_json, write_json
from nucplan.layout import CHOICE, FINAL


@dataclass(frozen=True)
class Choice:
    """The ensemble that `nucplan_predict` uses where no other is asked for.

    Attributes
    ----------
    configs : mapping of config to the name of its model folder
        In the order of the experiment; their networks are averaged.
    folds : tuple of int
        Of every config.
    decoder : DecoderPlan
        How the mean of their maps becomes nuclei.
    weights : mapping of ``<model folder>/fold_<k>`` to SHA-256
        Of the checkpoints that the choice was made with.
    among : tuple of str
        The configs that could have been chosen.
    measure : str
        The score that was compared, by its title.
    evidence : dict
        Scores behind the choice (`trainers.choose_ensemble`).
    made_by : str
        The command.
    """

    configs: Mapping[str, str]
    folds: tuple[int, ...]
    decoder: DecoderPlan
    weights: Mapping[str, str]
    among: tuple[str, ...]
    measure: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    made_by: str = ""

    def folder(self, results: Path) -> Path:
        """The model folder whose plan and classes stand for all."""
        return results / self.configs[min(self.configs)]

    def checkpoints(self, results: Path) -> list[Path]:
        """The files of all networks, by fold, then by name of the config, under the folder that holds the models.

        Raises
        ------
        NucplanError
            If one of them is missing or is not the one that the choice was made with.
        """
        models = [results / self.configs[name] for name in sorted(self.configs)]
        found = [model / f"fold_{fold}" / FINAL for fold in self.folds for model in models]
        for path in found:
            if not path.is_file() or file_hash(path) != self.weights.get(f"{path.parents[1].name}/{path.parent.name}"):
                problem = "is not the one" if path.is_file() else "is not there"
                raise NucplanError(
                    f"{path} {problem} that {results / CHOICE} was chosen with; "
                    "choose anew with nucplan_benchmark, or name a --config."
                )
        return found


def weights_of(checkpoints: Sequence[Path]) -> dict[str, str]:
    """``<model folder>/fold_<k>`` to the SHA-256 of the checkpoint there."""
    return {f"{path.parents[1].name}/{path.parent.name}": file_hash(path) for path in checkpoints}


def with_decoder(plans: Mapping[str, Any], decoder: DecoderPlan, boundary: bool) -> dict[str, Any]:
    """A copy of plans that decodes maps, those with a boundary or those without, as was chosen."""
    changed = deepcopy(dict(plans))
    changed["nucplan"]["decisions"]["decoder" if boundary else "foreground_decoder"] = {
        "value": decoder.to_dict(),
        "because": "chosen for this ensemble on images that its networks had not seen",
        "from": {},
    }
    return changed


def write_choice(choice: Choice, results: Path) -> None:
    """Write ``inference.json`` beside the models, whole or not at all."""
    write_json(results / CHOICE, asdict(choice))


def read_choice(results: Path) -> Choice:
    """Read what `write_choice` wrote.

    Raises
    ------
    NucplanError
        If the file is missing or damaged.
    """
    path = results / CHOICE
    content = read_json(path)
    try:
        lists = {name: tuple(content[name]) for name in ("folds", "among")}
        choice = Choice(**{**content, **lists, "decoder": DecoderPlan.from_dict(content["decoder"])})
        # Names that are no mapping, or none, would be met later.
        min(choice.configs.items())
        return choice
    except (AttributeError, KeyError, TypeError, ValueError):
        raise NucplanError(f"{path} is not what nucplan_benchmark writes; delete it, or name a --config.") from None
