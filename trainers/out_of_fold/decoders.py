"""Which decoders the rows of an ablation ask for, where it scores other nuclei than the training left."""

from __future__ import annotations

from collections.abc import Mapping

from nucplan.decoder_candidates import Candidate
from nucplan.decoder_plan import DecoderPlan
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import Dataset
from nucplan.plans import decision
from trainers import trainer_class
from trainers.out_of_fold.runs import STOCK, Models

# What a plan decides for networks with boundary heads, and for those without.
DECISIONS = DECODER, FOREGROUND_DECODER = "decoder", "foreground_decoder"


def decoders_anew(dataset: Dataset, models: Models) -> dict[str, DecoderPlan]:
    """For each config how the dataset's plan, as it is now, decodes its maps.

    Raises
    ------
    NucplanError
        If a model was trained at another scale than is planned now: the lengths of its maps are others.
    """
    plans = read_json(dataset.plans())
    for model in _configs(models).values():
        trained, planned = (decision(content, "scale") for content in (read_json(model / "plans.json"), plans))
        if trained != planned:
            raise NucplanError(
                f"{model} was trained on images enlarged {trained:g} times, and {dataset.plans()} now plans "
                f"{planned:g} times; train it anew, or leave out --decode-anew."
            )
    return {
        config: DecoderPlan.from_dict(decision(plans, DECODER if has_boundary(config) else FOREGROUND_DECODER))
        for config in _configs(models)
    }


def decoders_of_baseline(dataset: Dataset, models: Models, present: bool) -> dict[str, DecoderPlan]:
    """For each config with boundary heads how it is decoded without them: by its plan, or the dataset's present one."""
    return {
        config: DecoderPlan.from_dict(
            decision(read_json(dataset.plans() if present else model / "plans.json"), FOREGROUND_DECODER)
        )
        for config, model in _configs(models).items()
        if has_boundary(config)
    }


def has_boundary(config: str) -> bool:
    """Whether the networks of a config predict boundaries."""
    return trainer_class(config).boundary_supervision


def describe(plans: Mapping[str, DecoderPlan]) -> str:
    """Which decoder is whose; those that share one together."""
    configs: dict[str, list[str]] = {}
    for config, plan in plans.items():
        configs.setdefault(str(Candidate.of(plan)), []).append(config)
    return "; ".join(f"{', '.join(names)} by {decoder}" for decoder, names in configs.items())


def _configs(models: Models) -> Models:
    return {name: model for name, model in models.items() if name != STOCK}
