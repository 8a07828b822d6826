"""``nucplan_plan_and_preprocess``: verify, fingerprint, plan, preprocess, split."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from nucplan.cli import common
from nucplan.errors import NucplanError

EXAMPLES = """\
  nucplan_plan_and_preprocess 7
  nucplan_plan_and_preprocess Breast --explain
  nucplan_plan_and_preprocess 7 --device cpu --override patch_size=96 --override 'encoder={"depth": 4}'"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser(
        "nucplan_plan_and_preprocess",
        "Check a raw dataset, measure it, decide every setting, and write the data ready for training.",
        EXAMPLES,
    )
    made.add_argument("dataset", metavar="DATASET", help="id or name, as in nnUNet_raw")
    common.add_device(made)
    made.add_argument(
        "--override",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set a decision of the plan yourself (VALUE as JSON; a part of a decision is enough); may be repeated",
    )
    made.add_argument("--explain", action="store_true", help="print every decision of the plan with its reason")
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    overrides = dict(_parse_override(text) for text in arguments.override)
    roots = resolve_roots(arguments.root)
    dataset = find_dataset(roots, arguments.dataset)
    activate(roots)
    _plan_and_preprocess(dataset, arguments.device, overrides, arguments.explain)


def _plan_and_preprocess(dataset: Any, device: str, overrides: dict[str, Any], explained: bool) -> None:
    from nucplan.datasets.raw import RawDataset
    from nucplan.datasets.verify import verify_raw
    from nucplan.files import write_json
    from planners.fingerprint import load_or_measure
    from planners.planner import explain, plan_dataset
    from planners.rules import Limits
    from planners.splits import case_features, load_or_make_splits

    verify_raw(dataset, lambda cases: common.progress(cases, "Checking"))
    raw = RawDataset(dataset)
    fingerprint = load_or_measure(raw, common.progress)
    plans = plan_dataset(dataset, fingerprint, Limits.detect(device), overrides)
    splits = load_or_make_splits(dataset.splits, case_features(fingerprint.cases), raw.info.groups)
    write_json(dataset.plans(), plans)

    from planners.preprocessor import preprocess

    done = preprocess(raw, plans, progress=common.progress)
    if explained:
        print(explain(plans), end="\n\n")
    print(_summary(dataset, fingerprint, plans, splits, done))


def _parse_override(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise NucplanError(f"--override takes NAME=VALUE, for example patch_size=128, not '{text}'.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _summary(dataset: Any, fingerprint: Any, plans: dict[str, Any], splits: Any, done: bool) -> str:
    value = {name: decision["value"] for name, decision in plans["nucplan"]["decisions"].items()}
    size = f"{fingerprint.diameter(50):.1f} px" + (
        f" ({fingerprint.diameter_um['50']:.1f} um)" if fingerprint.diameter_um else ""
    )
    lines = [
        f"{dataset.folder_name}: {len(fingerprint.cases)} images, {fingerprint.nuclei} nuclei of "
        f"{len(fingerprint.class_instances)} class(es), median diameter {size}, "
        f"{fingerprint.touching_share:.0%} touch another one",
        f"plan:  {value['batch_size']} patches of {' x '.join(map(str, value['patch_size']))} px per step, "
        f"scale {value['scale']}, encoder {value['encoder']['name']} ({value['encoder']['depth']} blocks)",
        f"folds: {', '.join(str(len(fold['val'])) for fold in splits.folds)} validation images",
        f"files: {dataset.preprocessed}" + ("" if done else " (up to date, kept)"),
    ]
    if splits.note:
        lines.append(f"note:  {splits.note}")
    lines += ["", "Next: train one fold (0 to 4), or all of them:", f"  nucplan_train {dataset.id} all"]
    return "\n".join(lines)
