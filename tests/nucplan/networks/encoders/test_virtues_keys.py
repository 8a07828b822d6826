"""Three dialects of VirTues' weights; nothing of a file is passed over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from nucplan.errors import NucplanError
from nucplan.networks.encoders.marker_transformer import MarkerTransformer, rotary_table
from nucplan.networks.encoders.marker_vit import MarkerViT
from nucplan.networks.encoders.virtues_keys import encoder_tensors, options_of, rotary_blocks, unused
from nucplan.networks.matching import match
from nucplan.networks.weights import load_encoder_weights

DIM, FEEDFORWARD, HEADS, MARKER_DIM, DEPTH = 16, 24, 2, 6, 4
POSITIONS = "encoder.{}.encoder_layer.multi_head_attention.pos_emb.rope1d.{}"


def released(positions: tuple[int, ...] = (0, 2), final_norm: bool = True) -> dict[str, Tensor]:
    """A file as the release of 2026 has it."""
    torch.manual_seed(0)
    made = MarkerTransformer(DIM, FEEDFORWARD, HEADS, "hv" * 2, positions, MARKER_DIM, final_norm=final_norm)
    tensors = {f"encoder.{name}": tensor.clone() for name, tensor in made.state_dict().items()}
    table = rotary_table(1200, DIM // HEADS // 2)
    for block in positions:
        tensors[f"encoder.{POSITIONS.format(block, 'sin')}"] = table.sin()
        tensors[f"encoder.{POSITIONS.format(block, 'cos')}"] = table.cos()
    extra = ("decoder.decoder.0.encoder_layer.feedforward.0.weight", "decoder.layer_norm.weight")
    return tensors | {name: torch.ones(2, 2) for name in (*extra, "decoder.multiplex_decoder_mlp.0.weight")}


def renamed(tensors: dict[str, Tensor], *pairs: tuple[str, str]) -> dict[str, Tensor]:
    for theirs, ours in pairs:
        tensors = {
            ours + name.removeprefix(theirs) if name.startswith(theirs) else name: x for name, x in tensors.items()
        }
    return tensors


PREPRINT = ("encoder.prior_embedding_encoder", "encoder.protein_encoder"), ("decoder.", "mae_decoder.")


def preprint() -> dict[str, Tensor]:
    """As the code of the preprint: positions in every block, no last norm."""
    return renamed(released(tuple(range(DEPTH)), final_norm=False), *PREPRINT)


def dual() -> dict[str, Tensor]:
    """As the variant for H&E as well."""
    tensors = renamed(released(), *PREPRINT, ("encoder.patch_encoder", "encoder.multiplex_patch_encoder"))
    he = {"encoder.he_patch_encoder.weight": torch.ones(DIM, 192), "encoder.he_patch_encoder.bias": torch.ones(DIM)}
    return tensors | he | {"encoder.he_marker": torch.ones(DIM), "mae_decoder.he_decoder_mlp.0.bias": torch.ones(3)}


def encoder_for(tensors: dict[str, Tensor]) -> MarkerViT:
    return MarkerViT("virtues", 1, markers=["P68431"], **options_of(tensors))


@pytest.mark.parametrize("dialect", [released, preprint, dual])
@pytest.mark.parametrize("wrapped", ["", "module.", "model."])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_every_dialect_fills_the_encoder(tmp_path: Path, dialect, wrapped, ending):
    tensors, file = {f"{wrapped}{name}": tensor for name, tensor in dialect().items()}, tmp_path / f"weights{ending}"
    (save_file if ending == ".safetensors" else torch.save)(tensors, file)
    encoder = encoder_for(tensors)
    load_encoder_weights(encoder, file)
    wanted = {name: tensor for name, tensor in encoder_tensors(tensors).items() if not unused(name)}
    found = encoder.body.state_dict()
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("dialect", [released, preprint, dual])
def test_sizes_are_read_from_the_file(dialect):
    wanted = {
        "dim": DIM, "feedforward": FEEDFORWARD, "heads": HEADS, "pattern": "hvhv", "marker_dim": MARKER_DIM, "patch": 8,
        "rope": [0, 1, 2, 3] if dialect is preprint else [0, 2], "final_norm": dialect is not preprint,
    }  # fmt: skip
    assert options_of(dialect()) == wanted


def test_names_and_shapes_of_the_release_are_those_of_the_defaults():
    with torch.device("meta"):
        names = MarkerTransformer().state_dict()
    assert sum(tensor.numel() for tensor in names.values()) == pytest.approx(34.01e6, rel=1e-3)
    # 16 blocks of 16 tensors, two tokens, three pairs of weight and bias.
    assert len(names) == 16 * 16 + 2 + 6


def test_positions_are_in_the_blocks_that_have_tables():
    for positions in ((), (0, 2), (0, 1, 2, 3)):
        assert rotary_blocks(released(positions)) == list(positions)
        options = options_of(released(positions))
        assert (options["rope"], options["pattern"]) == (list(positions), "hvhv")


def test_a_network_with_other_positions_than_the_file_is_refused():
    with pytest.raises(NucplanError, match=r"positions in the same blocks \(0, 2 differ\)"):
        without = MarkerViT("virtues", 1, markers=["P68431"], **(options_of(released()) | {"rope": []}))
        without.converted(released((0, 2)))


@pytest.mark.parametrize(("positions", "lacking"), [((0,), 2), ((2,), 0), ((1, 2, 3), 0)])
def test_positions_in_some_of_the_spatial_blocks_are_refused(positions, lacking):
    with pytest.raises(
        NucplanError, match=f"Block {lacking} of the weights has no tables of positions and others have"
    ):
        options_of(released(positions))


def test_a_last_block_and_a_last_norm_that_are_missing_are_named():
    cut = {name: tensor for name, tensor in released().items() if ".encoder.3." not in name}
    with pytest.raises(NucplanError, match="no block 3 of 4"):
        options_of(cut)
    cut = {name: tensor for name, tensor in released().items() if not name.startswith("encoder.layer_norm.")}
    assert set(match(encoder_for(cut), cut).missing) == {"encoder.layer_norm.weight", "encoder.layer_norm.bias"}


@pytest.mark.parametrize("dialect", [released, preprint, dual])
def test_a_tensor_under_another_name_is_named(dialect):
    tensors = dialect()
    tensors["encoder.encoder.1.encoder_layer.layernorm1.scale"] = tensors.pop(
        "encoder.encoder.1.encoder_layer.layernorm1.weight"
    )
    with pytest.raises(NucplanError, match=r"'encoder\.1\.encoder_layer\.layernorm1\.scale' is no tensor of a VirTues"):
        encoder_tensors(tensors)


@pytest.mark.parametrize("name", ["encoder.registers", "segmentation_head.weight", "encoder.encoder.0.gate"])
def test_a_tensor_too_many_is_named(name):
    with pytest.raises(NucplanError, match=name.removeprefix("encoder.").replace(".", r"\.")):
        encoder_tensors(released() | {name: torch.ones(2)})


@pytest.mark.parametrize(
    "name", ["encoder.masked_token", "encoder.encoder.3.encoder_layer.multi_head_attention.W_o.bias"]
)
def test_a_missing_tensor_is_named(tmp_path: Path, name):
    tensors = released()
    del tensors[name]
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(NucplanError, match=name.removeprefix("encoder.").replace(".", r"\.")):
        load_encoder_weights(encoder_for(released()), tmp_path / "weights.safetensors")


@pytest.mark.parametrize("dialect", [released, preprint, dual])
def test_every_tensor_of_the_file_is_accounted_for_under_its_own_name(dialect):
    tensors = {f"module.{name}": tensor for name, tensor in dialect().items()}
    matched = match(encoder_for(tensors), tensors)
    assert matched.complete
    assert sorted([*matched.parts, *matched.dispensable]) == sorted(tensors)
    assert {name for name in tensors if "decoder." in name or "he_" in name} == set(matched.dispensable)
    missing = next(name for name in tensors if name.endswith(("protein_encoder.bias", "prior_embedding_encoder.bias")))
    del tensors[missing]
    assert match(encoder_for(tensors), tensors).missing == (missing,)


@pytest.mark.parametrize("half", ["sin", "cos"])
def test_a_table_of_other_positions_is_refused(half):
    tensors, name = released(), f"encoder.{POSITIONS.format(2, half)}"
    table = rotary_table(1200, DIM // HEADS // 2)
    # Interleaved pairs instead of two halves.
    tensors[name] = getattr(table[:, :2].repeat_interleave(2, 1), half)()
    with pytest.raises(NucplanError, match=POSITIONS.format(2, half).replace(".", r"\.")):
        encoder_tensors(tensors)


def test_tables_in_half_precision_are_those_of_the_release():
    tensors = {name: tensor.half() for name, tensor in released().items()}
    assert "masked_token" in encoder_tensors(tensors)


def test_one_table_of_two_is_refused():
    tensors = released()
    del tensors[f"encoder.{POSITIONS.format(2, 'cos')}"]
    with pytest.raises(NucplanError, match="Block 2"):
        rotary_blocks(tensors)


def test_a_part_in_two_dialects_is_refused():
    tensors = released()
    tensors["encoder.protein_encoder.bias"] = torch.ones(DIM)
    with pytest.raises(NucplanError, match=r"'prior_embedding_encoder\.bias' under two names"):
        encoder_tensors(tensors)


def test_a_missing_block_is_named():
    tensors = {name: tensor for name, tensor in released().items() if ".encoder.1." not in name}
    with pytest.raises(NucplanError, match="no block 1 of 4"):
        options_of(tensors)


def test_another_model_is_refused():
    with pytest.raises(NucplanError, match="none of VirTues"):
        encoder_tensors({"blocks.0.attn.qkv.weight": torch.ones(2)})
