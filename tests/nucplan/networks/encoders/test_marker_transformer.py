"""VirTues' transformer against its published outputs, and against loops over single tokens in numpy."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nucplan.errors import NucplanError
from nucplan.networks.encoders.marker_transformer import MarkerTokens, MarkerTransformer

DIM, FEEDFORWARD, HEADS, MARKER_DIM, PATCH = 16, 24, 2, 6, 4
GRID, CHANNELS = (4, 5), 3


def network(pattern: str = "hv", rope: tuple[int, ...] = (0,), seed: int = 0) -> MarkerTransformer:
    torch.manual_seed(seed)
    made = MarkerTransformer(DIM, FEEDFORWARD, HEADS, pattern, rope, MARKER_DIM, PATCH)
    for parameter in made.parameters():
        # Norms that scale and tokens of the size of others, so that leaving one out is seen.
        torch.nn.init.normal_(parameter, std=0.4)
    return made.double().eval().requires_grad_(False)


def images(count: int = 1, channels: int = CHANNELS, grid: tuple[int, int] = GRID) -> Tensor:
    return torch.randn(count, channels, *(PATCH * n for n in grid), dtype=torch.float64)


def markers(channels: int = CHANNELS) -> Tensor:
    return torch.randn(channels, MARKER_DIM, dtype=torch.float64)


# -- the oracle: one token at a time, positions as rotations in the complex plane --------------------------------------


class Oracle:
    def __init__(self, made: MarkerTransformer) -> None:
        self.weights = {name: tensor.numpy() for name, tensor in made.state_dict().items()}

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        scaled = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def run(self, picture, vectors, pattern, rope, masked=None) -> tuple[dict, list[dict]]:
        """Tokens by (channel, row, column) after the last norm, and before it after each block; -1 is the summary."""
        tokens, hidden = {}, set()
        for row in range(GRID[0]):
            for column in range(GRID[1]):
                tokens[-1, row, column] = self.weights["patch_summary_token"]
                for channel, plane in enumerate(picture):
                    pixels = plane[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH].reshape(-1)
                    token = self.linear("patch_encoder", pixels)
                    if masked is not None and masked[channel, row, column]:
                        hidden.add((channel, row, column))
                        token = self.weights["masked_token"]
                    tokens[channel, row, column] = token + self.linear("prior_embedding_encoder", vectors[channel])
        after = []
        for index, kind in enumerate(pattern):
            tokens = self.block(f"encoder.{index}.encoder_layer", kind, index in rope, tokens, hidden)
            after.append(tokens)
        return {place: self.norm("layer_norm", token) for place, token in tokens.items()}, after

    def block(self, name: str, kind: str, positions: bool, tokens: dict, hidden: set) -> dict:
        found = {}
        for place, token in tokens.items():
            sees = {
                "h": lambda a, b: a[0] == b[0], "v": lambda a, b: a[1:] == b[1:],
                "f": lambda a, b: True, "p": lambda a, b: b[0] == -1,
            }[kind]  # fmt: skip
            if place in hidden or (kind == "p" and place[0] != -1):
                found[place] = token
                continue
            seen = [other for other in tokens if sees(place, other) and other not in hidden]
            x = token + self.attention(name, place, seen, tokens, positions)
            inner = self.linear(f"{name}.feedforward.0", self.norm(f"{name}.layernorm2", x))
            inner = inner * np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in inner])
            found[place] = x + self.linear(f"{name}.feedforward.3", inner)
        return found

    def attention(self, name: str, place, seen, tokens: dict, positions: bool) -> np.ndarray:
        normed = {other: self.norm(f"{name}.layernorm1", tokens[other]) for other in {*seen, place}}
        attention, width, result = f"{name}.multi_head_attention", DIM // HEADS, []
        for head in range(HEADS):
            part = slice(head * width, (head + 1) * width)
            query = self.placed(self.linear(f"{attention}.W_q", normed[place])[part], place, positions)
            keys = [self.placed(self.linear(f"{attention}.W_k", normed[o])[part], o, positions) for o in seen]
            values = [self.linear(f"{attention}.W_v", normed[other])[part] for other in seen]
            scores = np.exp([query @ key / math.sqrt(width) for key in keys])
            result.append(sum(s * v for s, v in zip(scores / scores.sum(), values, strict=True)))
        return self.linear(f"{attention}.W_o", np.concatenate(result))

    @staticmethod
    def placed(x: np.ndarray, place, positions: bool) -> np.ndarray:
        if not positions:
            return x
        parts = []
        for half, position in zip(np.split(x, 2), place[1:], strict=True):
            pairs = len(half) // 2
            turned = half[:pairs] + 1j * half[pairs:]
            turned = turned * np.exp(1j * position * 10_000.0 ** -(np.arange(pairs) / pairs))
            parts += [turned.real, turned.imag]
        return np.concatenate(parts)


def as_maps(tokens: dict) -> np.ndarray:
    """(C + 1, D, H, W), the summary first."""
    channels = sorted({place[0] for place in tokens})
    rows = [[[tokens[c, i, j] for j in range(GRID[1])] for i in range(GRID[0])] for c in channels]
    return np.moveaxis(np.array(rows), 3, 1)


@pytest.mark.parametrize(
    ("pattern", "rope"), [("hvhv", (0, 2)), ("hv", ()), ("vh", (0, 1)), ("f", (0,)), ("pv", (0,)), ("fh", (1,))]
)
@pytest.mark.parametrize("hides", [False, True])
def test_every_kind_of_block_does_what_loops_over_tokens_do(pattern, rope, hides):
    made, picture, vectors = network(pattern, rope), images(), markers()
    masked = None
    if hides:
        masked = torch.rand(1, CHANNELS, *GRID, generator=torch.Generator().manual_seed(1)) < 0.6
        masked[:, 1] = True
    wanted, after = Oracle(made).run(
        picture[0].numpy(), vectors.numpy(), pattern, rope, None if masked is None else masked[0].numpy()
    )
    found = made(picture, vectors, masked, blocks=range(1, len(pattern) + 1))
    np.testing.assert_allclose(torch.cat([found.summary[:, None], found.channels], 1)[0], as_maps(wanted), atol=1e-6)
    for number, summary in enumerate(found.intermediate):
        np.testing.assert_allclose(summary[0], as_maps(after[number])[0], atol=1e-6)


def test_channels_may_come_in_any_order_with_their_markers():
    made, picture, vectors, order = network("hvf", (0, 2)), images(), markers(), torch.tensor([2, 0, 1])
    one, other = made(picture, vectors), made(picture[:, order], vectors[order])
    torch.testing.assert_close(one.summary, other.summary)
    torch.testing.assert_close(one.channels[:, order], other.channels)


def test_images_of_a_batch_do_not_see_each_other():
    made, batch, vectors = network("hvfp", (0, 2)), images(3), markers()
    together = made(batch, vectors).summary
    torch.testing.assert_close(together, torch.cat([made(picture[None], vectors).summary for picture in batch]))


def test_each_image_may_have_markers_of_its_own():
    made, batch = network(), images(2)
    vectors = torch.stack([markers(), markers()])
    alone = [made(batch[k : k + 1], vectors[k]).summary for k in range(2)]
    torch.testing.assert_close(made(batch, vectors).summary, torch.cat(alone))


def test_another_marker_changes_the_features():
    made, picture = network(), images()
    assert not torch.allclose(made(picture, markers()).summary, made(picture, markers()).summary, atol=1e-3)


def test_positions_in_a_spatial_block_are_noticed_and_among_channels_cancel_out():
    picture, vectors = images(), markers()
    with_positions, without, everywhere = (network("hv", rope)(picture, vectors) for rope in ((0,), (), (0, 1)))
    assert (with_positions.summary - without.summary).abs().max() > 1e-2
    assert torch.equal(with_positions.summary, everywhere.summary)


def test_features_of_a_patch_depend_on_what_is_around_it():
    made, picture, vectors = network(), images(grid=(6, 6)), markers()
    crop = picture[:, :, : 4 * PATCH, : 4 * PATCH]
    assert not torch.allclose(made(picture, vectors).summary[..., :4, :4], made(crop, vectors).summary, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "message"), [((4, 4), r"1 patch\(es\), too few"), ((12, 20), "15 patch"), ((18, 16), "pad")]
)
def test_images_without_context_or_of_broken_patches_are_refused(size, message):
    with pytest.raises(NucplanError, match=message):
        network()(torch.zeros(1, 1, *size, dtype=torch.float64), markers(1))


@pytest.mark.parametrize("arguments", [{"pattern": "hx"}, {"pattern": ""}, {"heads": 3}])
def test_what_makes_no_network_is_refused(arguments):
    with pytest.raises(NucplanError):
        MarkerTransformer(**{"dim": DIM, "heads": HEADS, "pattern": "hv"} | arguments)


# -- outputs of the published modules ----------------------------------------------------------------------------------
# virtues_small.npz holds what the modules of github.com/bunnelab/virtues (MIT, c5b9eaa) give in float32 on weights that
# depend on their names alone.

SMALL = Path(__file__).with_name("virtues_small.npz")
SIZES = {"dim": 64, "feedforward": 128, "heads": 4, "marker_dim": 32, "pattern": "hvhv"}


def synthetic(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights that the outputs were made with."""
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    if ("layer_norm" in name or "layernorm" in name) and name.endswith("weight"):
        return 1 + np.float32(0.1) * x
    if name.endswith("bias"):
        return np.float32(0.1) * x
    return x / np.float32(shape[1] ** 0.5) if len(shape) == 2 else np.float32(0.5) * x


def filled(**arguments) -> MarkerTransformer:
    made = MarkerTransformer(**arguments).eval().requires_grad_(False)
    shapes = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
    made.load_state_dict(
        {name: torch.from_numpy(synthetic(f"encoder.{name}", shape)) for name, shape in shapes.items()}
    )
    return made


def close(found: Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found.movedim(-3, -1)[0].numpy(), wanted, atol=1e-4, rtol=0)


def test_the_small_published_network_gives_its_outputs():
    stored = np.load(SMALL)
    get = {name: torch.from_numpy(stored[name]) for name in stored.files}
    made, picture, vectors = filled(rope=(0, 2), **SIZES), get["xb"][None], get["marker_embeddings"][get["ib"]]
    found: MarkerTokens = made(picture, vectors, blocks=(1, 2, 3, 4))
    close(found.summary, stored["pss_b"])
    close(found.channels, stored["tok_b"])
    for summary, wanted in zip(found.intermediate, stored["inter_b"], strict=True):
        close(summary, wanted)
    close(made(picture, vectors, get["mask_b"][None]).summary, stored["pss_b_masked"])
    without = filled(rope=(), **SIZES)(picture, vectors).summary[0].movedim(0, 2).numpy()
    assert np.abs(without - stored["pss_b"]).max() > 0.05


def test_the_released_network_gives_its_outputs(shared_data):
    file = shared_data / "virtues_golden" / "full.npz"
    if not file.is_file():
        pytest.skip("the published outputs are not here")
    made, stored = filled(), np.load(file)
    picture, vectors = torch.from_numpy(stored["x"])[None], torch.from_numpy(stored["marker_embeddings"][stored["ids"]])
    found = made(picture, vectors, blocks=(4, 8, 12, 16))
    close(found.summary, stored["pss"])
    for summary, wanted in zip(found.intermediate, stored["inter"], strict=True):
        close(summary, wanted)
