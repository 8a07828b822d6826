"""``nucplan_plan_and_preprocess``: verify, fingerprint, plan, preprocess, split."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nucplan.cli import common
from nucplan.cli.encoder_options import add_encoder, requested_encoder
from nucplan.errors import NucplanError

if TYPE_CHECKING:
    from planners.pretrained import EncoderRequest

EXAMPLES = """\
  nucplan_plan_and_preprocess 7
  nucplan_plan_and_preprocess Breast --explain
  nucplan_plan_and_preprocess 7 --encoder virtues --weights model.safetensors --marker-embeddings esm2/
  nucplan_plan_and_preprocess 7 --device cpu --set patch_size=96 --set 'encoder={"depth": 4}'"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser(
        "nucplan_plan_and_preprocess",
        "Check a raw dataset, measure it, decide every setting, and write the data ready for training.",
        EXAMPLES,
    )
    made.add_argument("dataset", metavar="DATASET", help="id or name, as in nnUNet_raw")
    common.add_device(made)
    made.add_argument(
        "--set",
        metavar="NAME=VALUE",
        dest="settings",
        action="append",
        default=[],
        help="set a decision of the plan yourself (VALUE as JSON; some of its parts are enough); once per decision",
    )
    made.add_argument(
        "--native-resolution", action="store_true", help="plan at the scale of the images, as --set scale=1 does"
    )
    add_encoder(made)
    made.add_argument("--explain", action="store_true", help="print every decision of the plan with its reason")
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    overrides, request = _parse_settings(arguments.settings), requested_encoder(arguments)
    if arguments.native_resolution and overrides.setdefault("scale", 1) != 1:
        raise NucplanError(
            f"--native-resolution enlarges no image, and --set scale={overrides['scale']} does; leave one of them out."
        )
    roots = resolve_roots(arguments.root)
    dataset = find_dataset(roots, arguments.dataset)
    activate(roots)
    _plan_and_preprocess(dataset, arguments.device, overrides, request, arguments.explain)


def _plan_and_preprocess(
    dataset: Any, device: str, overrides: dict[str, Any], request: EncoderRequest | None, explained: bool
) -> None:
    from nucplan.datasets.raw import RawDataset
    from nucplan.datasets.verify import verify_raw
    from nucplan.files import write_json
    from planners import rules
    from planners.explain import explain
    from planners.fingerprint import load_or_measure
    from planners.fingerprint_figure import draw
    from planners.oracle import sample_labels
    from planners.overrides import check_beside_weights, check_names
    from planners.planner import plan_dataset
    from planners.pretrained import read_encoder
    from planners.splits import case_features, load_or_make_splits

    check_names(overrides)
    verify_raw(dataset, lambda cases: common.progress(cases, "Checking"))
    raw = RawDataset(dataset)
    encoder = None if request is None else read_encoder(request, len(raw.info.channel_names), raw.info.panel)
    if encoder is not None:
        check_beside_weights(overrides, encoder.markers is not None)
    fingerprint = load_or_measure(raw, common.progress)
    splits = load_or_make_splits(dataset.splits, case_features(fingerprint.cases), raw.info.groups)
    annotated = [case for case, record in fingerprint.cases.items() if record["nuclei"]]
    scale = 2 if overrides.get("scale") == 2 else rules.scale(fingerprint).value
    labels = sample_labels(raw, annotated, scale, fingerprint.diameter(95))
    plans = plan_dataset(dataset, fingerprint, rules.Limits.detect(device), labels, overrides, encoder)
    if encoder is not None:
        encoder.store_embeddings(dataset)
    write_json(dataset.plans(), plans)
    draw(fingerprint, plans, dataset.fingerprint_figure)

    from planners.preprocessor import preprocess

    done = preprocess(raw, plans, progress=common.progress)
    if explained:
        print(explain(plans), end="\n\n")
    print(_summary(dataset, fingerprint, plans, splits, done))


def _parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise NucplanError(f"--set takes NAME=VALUE, for example patch_size=128, not '{text}'.")
        # The last one must not win: parts of a decision may be spread over both.
        if name in settings:
            raise NucplanError(f"--set gives '{name}' twice; give it once, with all its parts in one value.")
        settings[name] = _json_or_text(value)
    return settings


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    # Not only JSONDecodeError: a number of thousands of digits is refused as well.
    except ValueError:
        return value


def _summary(dataset: Any, fingerprint: Any, plans: dict[str, Any], splits: Any, done: bool) -> str:
    lines = [
        *_data_and_plan(dataset, fingerprint, plans),
        *_fold_lines(splits.folds, fingerprint.cases),
        f"files: {dataset.preprocessed}" + ("" if done else " (up to date, kept)"),
        *(f"note:  {sentence}" for sentence in [*plans["nucplan"].get("warnings", []), *splits.notes]),
        "",
        "Next: train one fold (0 to 4), or all of them:",
        f"  nucplan_train {dataset.id} all",
    ]
    return "\n".join(lines)


def _data_and_plan(dataset: Any, fingerprint: Any, plans: dict[str, Any]) -> list[str]:
    value = {name: decision["value"] for name, decision in plans["nucplan"]["decisions"].items()}
    size = f"{fingerprint.diameter(50):.1f} px"
    if fingerprint.diameter_um:
        size += f" ({fingerprint.diameter_um['50']:.1f} um)"
    # Where no image has two nuclei, nothing is known of contacts.
    touching = fingerprint.touching_share
    return [
        f"{dataset.folder_name}: {len(fingerprint.cases)} images, {fingerprint.nuclei} nuclei of "
        f"{len(fingerprint.class_instances)} class(es), median diameter {size}"
        + (f", {touching:.0%} touch another one" if touching is not None else ""),
        f"plan:  {value['batch_size']} patches of {' x '.join(map(str, value['patch_size']))} px per step, "
        f"scale {value['scale']}, encoder {value['encoder']['name']} ({value['encoder']['depth']} blocks)",
    ]


def _fold_lines(folds: Sequence[dict[str, list[str]]], cases: dict[str, dict[str, Any]]) -> list[str]:
    """What each fold is validated on, as three lines with a column per fold."""
    rows = {
        "fold": list(range(len(folds))),
        "images": [len(fold["val"]) for fold in folds],
        "nuclei": [sum(cases[case]["nuclei"] for case in fold["val"]) for fold in folds],
    }
    width = max(len(str(number)) for numbers in rows.values() for number in numbers)
    lines = [f"{label:<9}" + "".join(f"  {n:>{width}}" for n in numbers) for label, numbers in rows.items()]
    return [f"folds: {lines[0]}   (validation)", *(f"       {line}" for line in lines[1:])]
