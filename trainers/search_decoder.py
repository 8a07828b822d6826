"""Find the decoder on out-of-fold predictions: ``python -m trainers.search_decoder DATASET ...``.

The validation images of every finished fold are predicted by the network that has not seen them, the candidates of
`nucplan.decoder_candidates` are scored on these maps, and the tables are printed as Markdown. Nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.layout import FOLDS, PLANS_NAME, Dataset
from trainers import CONFIGS, DEFAULT_CONFIG, trainer_name

if TYPE_CHECKING:
    from nucplan.decoder_candidates import Candidate
    from nucplan.decoder_search import PartingCounts, ScoredSet

EXAMPLES = """\
  python -m trainers.search_decoder Tissue
  python -m trainers.search_decoder 2 3 4 --config boundary --folds 0,1"""
CAVEAT = """\
What is best in a table was chosen on the images that it is scored on, and flatters itself. Choices "from the coarse
grid" were made on other folds or other sets; the grid's defaults and the plan may come from an earlier search."""
# So many candidates are shown for all sets together: whether the best one stands alone or on a plateau.
SHOWN = 5


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser(
        "python -m trainers.search_decoder", "Find the decoder that suits out-of-fold predictions.", EXAMPLES
    )
    made.add_argument("datasets", metavar="DATASET", nargs="+", help="id or name of a trained dataset")
    made.add_argument("--config", choices=CONFIGS, default=DEFAULT_CONFIG, help="default: %(default)s")
    made.add_argument("--plans", metavar="NAME", default=PLANS_NAME, help="default: %(default)s")
    made.add_argument("--folds", metavar="0,1,...", help="default: those that are finished")
    common.add_device(made)
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    chosen = None if arguments.folds is None else common.numbers("--folds", arguments.folds, FOLDS[-1])
    roots = resolve_roots(arguments.root)
    datasets = list(dict.fromkeys(find_dataset(roots, name) for name in arguments.datasets))
    models = {one: one.model(trainer_name(arguments.config), arguments.plans) for one in datasets}
    folds = {one: chosen or _finished(one, model) for one, model in models.items()}
    activate(roots)
    _search(models, folds, arguments.device)


def _finished(dataset: Dataset, model: Path) -> Sequence[int]:
    from trainers.out_of_fold.folds import finished_folds, training_command

    if not (finished := finished_folds(model)):
        command = training_command(dataset, model, FOLDS[0])
        raise NucplanError(f"{model} has no finished fold; train one first, for example with {command}.")
    return finished


def _search(models: Mapping[Dataset, Path], folds: Mapping[Dataset, Sequence[int]], device_name: str) -> None:
    from nucplan.decoder_search import search
    from nucplan.devices import choose_device
    from trainers.out_of_fold.decoder_scores import load_set, scorer

    device = choose_device(device_name)
    loaded = [load_set(one, model, folds[one], device, common.progress) for one, model in models.items()]
    sets = [one.scored for one in loaded]
    with scorer(loaded, common.progress) as score:
        best = search(sets, all(one.has_boundary for one in loaded), score)
    tables = [*map(set_table, sets), *([all_sets_table(sets)] if len(sets) > 1 else []), sensitivity_table(sets, best)]
    print("\n\n".join([*tables, CAVEAT]))


def set_table(scored: ScoredSet) -> str:
    """The present plan, the best of each decoder, and what a choice on other folds is worth, for one set."""
    from nucplan.decoder_candidates import Candidate
    from nucplan.decoder_search import choose, nested_score

    own = Candidate.of(scored.plan)
    nuclei = scored.pooled(own).panoptic
    rows = {f"the plan: {own}": own}
    rows |= {str(best): best for best in (choose(scored, among=each) for each in _by_decoder(scored))}
    lines = [
        f"### {scored.name}: {len(scored.folds)} images, {nuclei.tp + nuclei.fn:,} nuclei, "
        f"diameter {scored.plan.diameter:g} px, {len(scored.scores)} candidates",
        "",
        "| decoder | PQ | merges | splits |",
        "|---|---|---|---|",
        *(f"| {title} | {_cells(scored.pooled(one))} |" for title, one in rows.items()),
        f"| **chosen: {choose(scored)}** | {_cells(scored.pooled(choose(scored)))} |",
    ]
    if nested := nested_score(scored):
        lines.append(f"| each fold by what the others choose from the coarse grid | {_cells(nested.counts)} |")
        lines += ["", *_choices(scored, nested.chosen)]
    return "\n".join(lines)


def _choices(scored: ScoredSet, chosen: Mapping[int, Candidate]) -> Iterator[str]:
    for fold, candidate in chosen.items():
        there, own = scored.pooled(candidate, [fold]).pq, scored.pooled(type(candidate).of(scored.plan), [fold]).pq
        images = int((scored.folds == fold).sum())
        yield f"- fold {fold} ({images} images): PQ {there:.3f}, the plan {own:.3f}; {candidate}"


def all_sets_table(sets: Sequence[ScoredSet]) -> str:
    """The candidates of least mean regret, and the best of each decoder: PQ of each set and what it lacks to the best.

    In the last row each set is decoded by what suits all the other sets best, from the coarse grid: what a default is
    worth on a set that had no say in it. In the rows above all sets had one.
    """
    from nucplan.decoder_search import best_for_all, choices_of_others, mean_regrets

    regrets = mean_regrets(sets)
    shown = dict.fromkeys([*list(regrets)[:SHOWN], *(best_for_all(sets, name) for name in _decoders(sets[0]))])
    lines = [
        "### All sets: PQ (regret)",
        "",
        "| decoder | " + " | ".join(one.name for one in sets) + " | mean regret |",
        "|---|" + "---|" * (len(sets) + 1),
        *(f"| {c} | {_regret_cells(sets, [c] * len(sets))} |" for c in shown),
        f"| each set by what suits the others, from the coarse grid | {_regret_cells(sets, choices_of_others(sets))} |",
    ]
    return "\n".join(lines)


def _regret_cells(sets: Sequence[ScoredSet], chosen: Sequence[Candidate]) -> str:
    pairs = list(zip(sets, chosen, strict=True))
    regrets = [one.regret(candidate) for one, candidate in pairs]
    cells = [f"{one.pooled(c).pq:.3f} ({regret:.3f})" for (one, c), regret in zip(pairs, regrets, strict=True)]
    return " | ".join([*cells, f"{sum(regrets) / len(regrets):.4f}"])


def sensitivity_table(sets: Sequence[ScoredSet], centre: Candidate) -> str:
    """PQ (mean of the sets) and merges / splits (of all sets) where one field of ``centre`` at a time is varied."""
    from nucplan.decoder_candidates import variations

    lines = [f"### Around {centre}: PQ, merges / splits", "", "| field | |", "|---|---|"]
    for field, row in variations(centre).items():
        cells = [_variation(sets, one, one.values[field], one == centre) for one in row]
        lines.append(f"| {field} | {', '.join(cells)} |")
    return "\n".join(lines)


def _variation(sets: Sequence[ScoredSet], candidate: Candidate, value: float, is_centre: bool) -> str:
    found = [one.pooled(candidate) for one in sets]
    pq = sum(counts.pq for counts in found) / len(found)
    merges, splits = sum(counts.merges for counts in found), sum(counts.splits for counts in found)
    cell = f"{value:g}: {pq:.3f} ({merges} / {splits})"
    return f"**{cell}**" if is_centre else cell


def _decoders(scored: ScoredSet) -> list[str]:
    return list(dict.fromkeys(candidate.name for candidate in scored.scores))


def _by_decoder(scored: ScoredSet) -> list[list[Candidate]]:
    return [[one for one in scored.scores if one.name == name] for name in _decoders(scored)]


def _cells(counts: PartingCounts) -> str:
    return f"{counts.pq:.3f} | {counts.merges} | {counts.splits}"


if __name__ == "__main__":
    raise SystemExit(main())
