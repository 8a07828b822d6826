"""Choose what predicts by default: ``python -m trainers.choose_ensemble DATASET``.

Every finished fold predicts the images that it has not seen; the configs, alone and averaged, and then the decoders of
the best of them are compared on these maps, by mPQ+ (pooled PQ with one class); the planned decoder stays unless
another one proves better on folds that did not choose it. The choice goes to ``inference.json``
in the results of the dataset, with its evidence: the score of each option as planned, and that of a nested choice, in
which each fold is scored with what the others chose. ``nucplan_predict`` and ``nucplan_export`` use it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import CHOICE, FINAL
from nucplan.plans import decision
from trainers.out_of_fold.selection import add_selection, selected

if TYPE_CHECKING:
    from nucplan.decoder_search import PartingCounts, ScoredSet
    from nucplan.ensemble_choice import Configs, Ensemble, NestedEnsemble

# Decisions on which it depends what a network is shown.
SHARED = ("scale", "normalization", "patch_size", "tile_overlap")

DESCRIPTION = """\
Choose, on out-of-fold predictions, the config (or the mean of configs) and the decoder that nucplan_predict uses where
no --config is named."""
EXAMPLES = """\
  python -m trainers.choose_ensemble Tissue
  python -m trainers.choose_ensemble 2 --configs baseline,boundary --folds 0,1"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("python -m trainers.choose_ensemble", DESCRIPTION, EXAMPLES)
    made.add_argument("dataset", metavar="DATASET", help="id or name of a dataset with trained folds")
    add_selection(made)
    common.add_device(made)
    made.set_defaults(words=sys.argv[1:] if argv is None else list(argv))
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    roots = resolve_roots(arguments.root)
    dataset = find_dataset(roots, arguments.dataset)
    activate(roots)

    from nucplan.datasets.raw import RawDataset
    from nucplan.devices import choose_device
    from nucplan.ensemble_choice import choose_ensemble, nested_ensemble
    from nucplan.inference.choice import Choice, weights_of, write_choice
    from nucplan.report.ablation import primary_scores
    from trainers.out_of_fold.decoders import decoders_anew
    from trainers.out_of_fold.ensembles import OutOfFoldOptions

    models, folds = selected(dataset, arguments)
    _refuse_other_maps(models)
    plans = decoders_anew(dataset, models)
    sets = OutOfFoldOptions(dataset, models, folds, plans, choose_device(arguments.device)).scored(common.progress)
    chosen, nested = choose_ensemble(sets), nested_ensemble(sets)
    *_, measure = primary_scores(len(RawDataset(dataset).info.class_names))
    choice = Choice(
        configs={config: models[config].name for config in chosen.configs},
        folds=folds,
        decoder=chosen.decoder.plan(sets[chosen.configs].plan),
        weights=weights_of([models[config] / f"fold_{fold}" / FINAL for fold in folds for config in chosen.configs]),
        among=tuple(models),
        measure=measure.title,
        evidence=_evidence(sets, chosen, nested),
        made_by=shlex.join(["python", "-m", "trainers.choose_ensemble", *arguments.words]),
    )
    write_choice(choice, dataset.results)
    print(_report(sets, chosen, nested, choice.measure, dataset.results / CHOICE))


def _refuse_other_maps(models: Mapping[str, Path]) -> None:
    """Maps are averaged pixel by pixel: how images reach the network must be the same in all plans."""
    (first, plan), *others = ((model, read_json(model / "plans.json")) for model in models.values())
    for model, other in others:
        differing = [name for name in SHARED if decision(plan, name) != decision(other, name)]
        if differing:
            raise NucplanError(
                f"{model} was planned with another {differing[0]} than {first}, so they cannot be averaged; "
                "train one of them anew, or leave one out with --configs."
            )


def _evidence(sets: Mapping[Configs, ScoredSet], chosen: Ensemble, nested: NestedEnsemble | None) -> dict[str, Any]:
    """Figures behind a choice: every option as planned, the choice itself, and the nested choice where there is one."""
    from nucplan.decoder_candidates import Candidate

    found: dict[str, Any] = {
        "options": [
            _scored(option, Candidate.of(one.plan), one.pooled(Candidate.of(one.plan))) for option, one in sets.items()
        ],
        "chosen": _scored(*chosen, sets[chosen.configs].pooled(chosen.decoder)),
        "images": len(sets[chosen.configs].folds),
    }
    if nested is not None:
        of_folds = {str(fold): _scored(*nested.chosen[fold], counts) for fold, counts in nested.of_folds.items()}
        found["nested"] = _numbers(nested.counts) | {"of_folds": of_folds}
    return found


def _scored(configs: Configs, decoder: Any, counts: PartingCounts) -> dict[str, Any]:
    return {"configs": list(configs), "decoder": {"name": decoder.name, **decoder.values}, **_numbers(counts)}


def _numbers(counts: PartingCounts) -> dict[str, Any]:
    return {"score": counts.quality, "merges": counts.merges, "splits": counts.splits}


def _report(
    sets: Mapping[Configs, ScoredSet], chosen: Ensemble, nested: NestedEnsemble | None, measure: str, path: Path
) -> str:
    """What was chosen and what it is worth, in a few lines."""
    from nucplan.decoder_candidates import Candidate

    one = sets[chosen.configs]
    names = chosen.configs[0] if len(chosen.configs) == 1 else f"the mean of {' and '.join(chosen.configs)}"
    planned = one.pooled(Candidate.of(one.plan)).quality
    lines = [
        f"chosen: {names}, decoded by {chosen.decoder}",
        f"{measure} on {len(one.folds)} out-of-fold images: {one.pooled(chosen.decoder).quality:.3f}; "
        f"decoded as planned {planned:.3f}"
        + (f"; each fold by what the others chose {nested.counts.quality:.3f}" if nested else ""),
    ]
    return "\n".join([*lines, str(path)])


if __name__ == "__main__":
    sys.exit(main())
