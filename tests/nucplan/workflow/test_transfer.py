"""Which images of one dataset models of another one take: markers by name, and none that they were trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.raw import RawDataset
from nucplan.errors import NucplanError
from nucplan.files import write_json
from nucplan.images import write_image
from nucplan.layout import Dataset, resolve_roots
from nucplan.workflow.transfer import panel_reader, refuse_shared, refuse_unfit

PANEL = ("DAPI", "CD3", "CD8")


def made(root: Path, name: str, channels: tuple[str, ...], seed: int = 0, **nuclei) -> RawDataset:
    """A raw dataset of one case ``a``, one file per channel; of its annotation there is only the file."""
    dataset = Dataset(resolve_roots(root), name)
    content = {
        "channel_names": {str(k): channel for k, channel in enumerate(channels)},
        "labels": {"background": 0, "nucleus": 1}, "numTraining": 1, "file_ending": ".png",
        "nuclei": {"mpp": 0.5, **nuclei},
    }  # fmt: skip
    write_json(dataset.dataset_json, content)
    for number in range(len(channels)):
        plane = np.random.default_rng([seed, number]).integers(0, 99, (4, 5)).astype(np.uint16)
        write_image(dataset.part("images") / f"a_{number:04d}.png", plane)
    dataset.part("instances").mkdir()
    (dataset.part("instances") / "a.tif").touch()
    return RawDataset(dataset)


def fits(source: RawDataset, target: RawDataset) -> bool:
    try:
        refuse_unfit(source, target)
    except NucplanError:
        return False
    return True


@pytest.mark.parametrize(
    ("channels", "nuclei", "fixed", "varying"),
    [
        (PANEL, {"markers": PANEL}, True, True),
        (("cd8", "DAPI", "CD-3"), {"markers": ("cd8", "DAPI", "CD-3")}, True, True),
        ((*PANEL, "CD99"), {}, True, True),
        (("DAPI", "CD99"), {"markers": ("DAPI", "CD99")}, False, True),
        (("CD99",), {"markers": ("CD99",)}, False, False),
        (PANEL, {"markers": PANEL, "absent": {"a": ["CD3"]}}, False, True),
        (("R", "G", "B"), {}, False, False),
        (PANEL, {"markers": PANEL, "factors": {"CD3": 200.0}}, False, False),
    ],
)
def test_markers_are_matched_by_name_and_never_with_colours(tmp_path, channels, nuclei, fixed, varying):
    target = made(tmp_path, "Dataset002_B", channels, 1, **nuclei)
    assert fits(made(tmp_path, "Dataset001_A", PANEL, markers=PANEL), target) == fixed
    source = made(tmp_path, "Dataset003_C", PANEL, markers=PANEL, absent={"other": ["CD3"]})
    assert fits(source, target) == varying


def test_a_plan_says_whether_panels_may_vary(tmp_path):
    source = made(tmp_path, "Dataset001_A", PANEL, markers=PANEL)
    for panel, varies in (("fixed", False), ("varying", True)):
        decisions = {"channels": {"value": {"panel": panel}}}
        write_json(source.dataset.plans(), {"nucplan": {"decisions": decisions}})
        assert panel_reader(source).varies == varies
    assert panel_reader(made(tmp_path, "Dataset002_B", ("R", "G", "B"))) is None


def test_planes_come_in_the_order_and_the_units_of_the_models(tmp_path):
    source = made(tmp_path, "Dataset001_A", PANEL, markers=PANEL, factors={"DAPI": 10.0, "CD3": 2.0, "CD8": 1.0})
    names = ("CD8", "CD99", "dapi")
    target = made(tmp_path, "Dataset002_B", names, 1, markers=names, factors={"dapi": 5.0, "CD8": 4.0})
    image = target.image("a")
    found = panel_reader(source).arranged(image, target.info.panel, target.info.factors, "a")
    expected = [2.0 * image[..., 2], np.zeros((4, 5)), np.rint(image[..., 0] / 4)]
    np.testing.assert_array_equal(found, np.dstack(expected))
    # With the same units nothing is converted, not even the type.
    same = made(tmp_path, "Dataset003_C", PANEL, 1, markers=PANEL)
    arranged = panel_reader(same).arranged(image.astype(np.uint8), PANEL[::-1], {}, "a")
    assert arranged.dtype == np.uint8
    np.testing.assert_array_equal(arranged, image[..., ::-1])


def test_a_training_image_is_not_scored_and_an_empty_plane_is_none(tmp_path):
    source, other = (made(tmp_path, f"Dataset00{k}_A", PANEL, k, markers=PANEL) for k in (1, 2))
    blank = np.zeros((4, 5), np.uint16)
    for raw in (source, other):
        write_image(raw.dataset.part("images") / "a_0001.png", blank)
    refuse_shared(source, other)
    with pytest.raises(NucplanError, match=r"a_0000\.png is the training image a of Dataset001_A"):
        refuse_shared(source, made(tmp_path, "Dataset003_C", PANEL, 1, markers=PANEL))
