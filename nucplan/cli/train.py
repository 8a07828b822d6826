"""``nucplan_train``: train one fold, or the five in turn."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.layout import FOLDS, PLANS_NAME
from nucplan.schedule import BUDGETS, EPOCH
from trainers import CONFIGS, DEFAULT_CONFIG

if TYPE_CHECKING:
    from planners.variants import Variant

EXAMPLES = """\
  nucplan_train 7 0                    one fold
  nucplan_train 7 all --budget quick   all five in turn, 150 iterations each
  nucplan_train Breast 0 --weights uni.bin                      a pretrained encoder, frozen
  nucplan_train Breast 0 --weights uni.bin --config cellvta     with an adapter around it
  nucplan_train Breast 0 --weights uni.bin --cache-features     its maps computed once and stored
  nucplan_train Breast 0 --weights cellvit.pth --with-decoder   CellViT's decoder, too"""


SCORES = (("PQ (pooled)", "pq_pooled"), ("Dice", "dice_image_mean"))


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser(
        "nucplan_train",
        "Train one fold of a planned dataset, or all five. A training that was cut off goes on where it was; "
        "a finished one is kept.",
        EXAMPLES,
    )
    made.add_argument("dataset", metavar="DATASET", help="id or name")
    made.add_argument("fold", metavar="FOLD", help="0 to 4, or all")
    made.add_argument("--config", choices=list(CONFIGS), default=DEFAULT_CONFIG, help="default: %(default)s")
    length = made.add_mutually_exclusive_group()
    length.add_argument(
        "--budget", choices=BUDGETS, default="standard", help="how long to train (default: %(default)s)"
    )
    length.add_argument("--epochs", type=int, metavar="N", help=f"train N epochs of {EPOCH} iterations instead")
    length.add_argument("--iterations", type=int, metavar="N", help="train N iterations instead")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    made.add_argument(
        "--encoder", metavar="NAME", help="an encoder of docs/encoders.md, or a timm ViT (default: the plan's)"
    )
    made.add_argument(
        "--weights",
        metavar="FILE",
        help="its pretrained weights, or hf-hub:OWNER/NAME in the local cache; the encoder is then frozen; it "
        "needs no name where the file tells (nucplan_encoder check FILE)",
    )
    made.add_argument("--train-encoder", action="store_true", help="go on training the pretrained encoder")
    made.add_argument(
        "--with-decoder", action="store_true", help="start from the decoder of the weights, too: a whole CellViT"
    )
    made.add_argument(
        "--injection-blocks",
        metavar="1,2,3,4",
        help="with --config cellvta: the interactions that change the encoder's tokens (default: all four)",
    )
    made.add_argument(
        "--cache-features",
        action=argparse.BooleanOptionalAction,
        help="compute the maps of a frozen encoder once and store them (default: where the plan says that it pays)",
    )
    made.add_argument(
        "--cache-limit", type=float, metavar="GIB", help="the most that these maps may take on disk (default: 16)"
    )
    made.add_argument(
        "--decoder-stride",
        type=int,
        choices=(1, 2, 4),
        default=1,
        help="where the decoder ends: from 2 and 4 all pixels of a square of this side are predicted at once, "
        "which is faster (default: %(default)s, full resolution)",
    )
    made.add_argument("--wait", action="store_true", help="wait for a fold that another process trains")
    common.add_device(made)
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    folds = _folds(arguments.fold)
    iterations = _iterations(arguments)
    if arguments.seed < 0:
        raise NucplanError(f"--seed {arguments.seed} is negative; give 0 or a positive number.")
    if arguments.cache_limit is not None and not arguments.cache_limit > 0:
        raise NucplanError(f"--cache-limit {arguments.cache_limit:g} is no size; give a positive number of GiB.")
    roots = resolve_roots(arguments.root)
    dataset = find_dataset(roots, arguments.dataset)
    activate(roots)

    from nucplan.devices import choose_device
    from trainers.run import TrainingRequest, prepare, train_fold

    device = choose_device(arguments.device)
    request = TrainingRequest(arguments.config, arguments.budget, iterations, _variant(arguments))
    plans = prepare(dataset, request)
    if note := plans["nucplan"].get("weights", {}).get("note"):
        print(note)
    for fold in folds:
        folder = train_fold(dataset, fold, request, plans, device, arguments.wait)
        print(_report(folder, fold))
    options = _options_of_predict(arguments.config, plans["plans_name"])
    print(f"\nNext: predict with the folds that are trained\n  nucplan_predict {dataset.id} IMAGES OUTPUT{options}")


def _variant(arguments: argparse.Namespace) -> Variant:
    from nucplan.networks.encoders.source import resolve_weights
    from planners.variants import Variant

    blocks = arguments.injection_blocks
    return Variant(
        seed=arguments.seed,
        encoder=arguments.encoder,
        weights=None if arguments.weights is None else resolve_weights(arguments.weights),
        train_encoder=arguments.train_encoder,
        with_decoder=arguments.with_decoder,
        injection_blocks=None if blocks is None else common.numbers("--injection-blocks", blocks, 4, 1),
        cache_features=arguments.cache_features,
        cache_limit=arguments.cache_limit,
        decoder_stride=arguments.decoder_stride,
    )


def _folds(text: str) -> tuple[int, ...]:
    if text == "all":
        return FOLDS
    if text not in map(str, FOLDS):
        raise NucplanError(f"There is no fold '{text}'; choose 0, 1, 2, 3, 4 or all.")
    return (int(text),)


def _iterations(arguments: argparse.Namespace) -> int | None:
    for name, value, unit in (("--epochs", arguments.epochs, EPOCH), ("--iterations", arguments.iterations, 1)):
        if value is not None and value < 1:
            raise NucplanError(f"{name} {value} is less than 1; give a positive number.")
        if value is not None:
            return value * unit
    return None


def _options_of_predict(config: str, plans_name: str) -> str:
    options = ["--config", config] if config != DEFAULT_CONFIG else []
    options += ["--plans", plans_name] if plans_name != PLANS_NAME else []
    return f" {shlex.join(options)}" if options else ""


def _report(folder: Path, fold: int) -> str:
    from nucplan.files import read_json

    nuclei = read_json(folder / "validation" / "summary.json")["nuclei"]["summary"]
    # A score is null where the validation images hold no nuclei.
    scores = (f"{title} {nuclei[key]:.3f}" for title, key in SCORES if nuclei[key] is not None)
    counts = f"{nuclei['merges']} merges, {nuclei['splits']} splits on its validation images"
    return f"fold {fold}: {', '.join([*scores, counts])}\n        {folder}"
