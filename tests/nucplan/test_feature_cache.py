"""Stored maps are those of the encoder on the moved image, and nothing but those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nucplan import feature_cache
from nucplan.encoded_maps import MapLayout, encode, padded_image
from nucplan.errors import NucplanError
from nucplan.feature_cache import FeatureCache, image_shapes
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.symmetries import IDENTITY, SYMMETRIES

PATCH, STRIDE = 64, 16
SHAPES = {"square": (64, 64), "wide": (70, 150), "small": (40, 90)}
CPU = torch.device("cpu")


class Cases:
    """Preprocessed images in memory."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.data = {name: rng.normal(size=(3, 1, *shape)).astype(np.float32) for name, shape in SHAPES.items()}

    def load_case(self, identifier: str):
        return self.data[identifier], None, None, {}


def network(seed: int = 0, **arguments) -> NucleusNet:
    torch.manual_seed(seed)
    arguments = {"encoder_frozen": True, "input_mean": [0.1, 0.2, 0.3], "input_std": [1.0, 2.0, 1.5], **arguments}
    return NucleusNet(3, 2, "test_vit", [4, 4, 4, 4, 4], encoder_depth=4, **arguments).eval()


def cache_of(net: NucleusNet, folder: Path, patch: int = PATCH, data: object = "images") -> FeatureCache:
    return FeatureCache.of(net, patch, data, folder, CPU)


@pytest.fixture(scope="module")
def net() -> NucleusNet:
    return network()


@pytest.fixture(scope="module")
def filled(net, tmp_path_factory) -> FeatureCache:
    cache = cache_of(net, tmp_path_factory.mktemp("preprocessed"))
    assert cache.fill(net, Cases(), list(SHAPES), CPU) == len(SHAPES)
    return cache


def live(net: NucleusNet, tile: np.ndarray) -> list[np.ndarray]:
    """Maps (h, w, D) of the encoder for one image (C, H, W)."""
    from nucplan.precision import mixed_precision

    with torch.no_grad(), mixed_precision(CPU):
        maps = net.encoder_maps(torch.from_numpy(np.ascontiguousarray(tile))[None])
    return [one[0].permute(1, 2, 0).float().numpy() for one in maps]


def close(stored: np.ndarray, wanted: np.ndarray) -> bool:
    """Equal to half precision, or to bfloat16 where the processor computes in it."""
    return np.abs(stored.astype(np.float32) - wanted).max() <= 0.01 * np.abs(wanted).max()


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_an_image_of_one_tile_has_the_maps_of_the_encoder_in_every_symmetry(net, filled, symmetry) -> None:
    image = Cases().data["square"][:, 0]
    stored = filled.crop("square", SHAPES["square"], symmetry, (0, 0))
    wanted = live(net, symmetry(image))
    assert len(stored) == 4
    assert all(one.dtype == np.float16 and close(one, two) for one, two in zip(stored, wanted, strict=True))
    # The encoder is not equivariant: moving its maps would not do.
    assert symmetry == IDENTITY or not close(
        stored[3], symmetry(live(net, image)[3].transpose(2, 0, 1)).transpose(1, 2, 0)
    )


@pytest.mark.parametrize("name", ["wide", "small"])
def test_the_corners_of_an_image_have_the_maps_of_the_tiles_there(net, filled, name) -> None:
    for symmetry in SYMMETRIES:
        whole = padded_image(symmetry(Cases().data[name][:, 0]), filled.layout)
        last = [side - PATCH for side in whole.shape[1:]]
        for start in [(0, 0), tuple(last)]:
            tile = live(net, whole[:, start[0] : start[0] + PATCH, start[1] : start[1] + PATCH])
            stored = filled.crop(name, SHAPES[name], symmetry, start)
            # A tile's core is at least half of its four tokens.
            corner = np.s_[:2, :2] if start == (0, 0) else np.s_[-2:, -2:]
            assert all(close(a[corner], b[corner]) for a, b in zip(stored, tile, strict=True))


def test_crops_are_windows_of_one_map_of_the_image(filled) -> None:
    shape = SHAPES["wide"]
    left, right = (filled.crop("wide", shape, IDENTITY, (16, column)) for column in (16, 48))
    assert all(np.array_equal(a[:, 2:], b[:, :2]) for a, b in zip(left, right, strict=True))


def test_maps_of_several_strides_are_stored_each_at_its_own(tmp_path) -> None:
    class Strides:
        def encoder_maps(self, images):
            # The pixel at the top left of each token, twice the number of its tap.
            return [images[:, :2, ::s, ::s] + 10 * tap for tap, s in enumerate((4, 8, 8, 16))]

    layout = MapLayout(2, (4, 8, 8, 16), 32)
    image = np.random.default_rng(0).integers(0, 50, (3, 50, 70)).astype(np.float32)
    out = [np.zeros(shape, np.float16) for shape in layout.maps((50, 70))]
    encode(Strides(), image, layout, CPU, out)
    padded = padded_image(image, layout)
    for tap, (found, stride) in enumerate(zip(out, layout.tap_strides, strict=True)):
        assert np.array_equal(found, padded[:2, ::stride, ::stride].transpose(1, 2, 0) + 10 * tap)


def test_the_size_told_beforehand_is_that_of_the_files(filled) -> None:
    cases = list(SHAPES)
    assert image_shapes(Cases(), cases) == list(SHAPES.values())
    assert filled.layout.bytes(list(SHAPES.values())) == sum(filled.path(case).stat().st_size for case in cases)


def test_other_weights_images_taps_colours_or_tiles_have_other_folders(net, tmp_path) -> None:
    others = [
        cache_of(network(1), tmp_path),
        cache_of(net, tmp_path, data="other images"),
        cache_of(net, tmp_path, patch=32),
        cache_of(network(encoder_taps=[0, 1, 2, 2]), tmp_path),
        cache_of(network(input_mean=[0.0, 0.2, 0.3]), tmp_path),
    ]
    folders = {cache.folder for cache in [cache_of(net, tmp_path), *others]}
    assert len(folders) == 1 + len(others)
    assert cache_of(network(), tmp_path).folder in folders


def marker_network(**options) -> NucleusNet:
    torch.manual_seed(0)
    sizes = {"dim": 16, "feedforward": 24, "heads": 2, "pattern": "hv", "marker_dim": 6}
    options = {"markers": ["P1", "P2", None], **sizes, **options}
    made = NucleusNet(3, 2, "virtues", [4] * 5, encoder_frozen=True, encoder_options=options)
    made.encoder.fill_table({name: torch.ones(6) for name in ("P1", "P2", "P3")})
    return made


def test_markers_and_positions_that_no_weight_tells_have_their_own_folders(tmp_path) -> None:
    changes = [{}, {"markers": ["P1", None, "P2"]}, {"markers": ["P2", "P1", None]}, {"mpp": 0.9}, {"heads": 1}]
    changes += [{"rope": []}]
    nets = [marker_network(**change) for change in changes]
    sam = {"img_size": 64, "embed_dim": 32, "num_heads": 2}
    for positions in ("crop", "resample"):
        torch.manual_seed(0)
        options = {"positions": positions, **sam}
        nets.append(
            NucleusNet(
                3, 2, "samvit_base_patch16", [4] * 5, encoder_depth=2, encoder_frozen=True, encoder_options=options
            )
        )
    assert len({cache_of(made, tmp_path).folder for made in nets}) == len(nets)
    assert cache_of(marker_network(), tmp_path).folder == cache_of(nets[0], tmp_path).folder


def test_an_interrupted_computation_goes_on_and_leaves_nothing_half_written(net, tmp_path, filled, monkeypatch) -> None:
    cache, calls = cache_of(net, tmp_path), []

    def interrupted(*arguments) -> None:
        calls.append(1)
        if len(calls) == 11:
            raise KeyboardInterrupt
        encode(*arguments)

    monkeypatch.setattr(feature_cache, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.fill(net, Cases(), list(SHAPES), CPU)
    assert [path.name for path in cache.folder.glob("*.npy")] == ["square.npy"]
    before = cache.path("square").stat().st_mtime_ns
    assert cache.fill(net, Cases(), list(SHAPES), CPU) == 2
    assert cache.path("square").stat().st_mtime_ns == before
    assert all(cache.path(case).read_bytes() == filled.path(case).read_bytes() for case in SHAPES)


def test_a_full_disk_is_refused_before_anything_is_written(net, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(feature_cache, "free_bytes", lambda _: 1000)
    cache = cache_of(net, tmp_path)
    with pytest.raises(NucplanError, match="no-cache-features"):
        cache.fill(net, Cases(), list(SHAPES), CPU)
    assert not list(cache.folder.glob("*.npy"))


def test_features_beyond_half_precision_are_refused(tmp_path) -> None:
    net = network()
    with torch.no_grad():
        net.encoder.vit.blocks[3].mlp.fc2.bias.fill_(1e5)
    cache = cache_of(net, tmp_path)
    with pytest.raises(NucplanError, match="half precision"):
        cache.fill(net, Cases(), ["square"], CPU)
    assert not list(cache.folder.glob("*.npy"))


def test_an_encoder_that_is_trained_is_refused(tmp_path) -> None:
    with pytest.raises(NucplanError, match="cannot be stored"):
        cache_of(network(encoder_frozen=False), tmp_path)
