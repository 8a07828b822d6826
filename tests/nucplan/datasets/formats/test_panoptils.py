"""PanopTILs comes back as the nuclei of its tables, with the classes and excluded regions of its masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from nucplan.datasets.annotations.polygons import TOO_FEW_POINTS, UNCLEAR
from nucplan.datasets.formats import panoptils
from nucplan.errors import NucplanError
from nucplan.images import write_image

NAME = "TCGA-S3-AA15-DX1_xmin55486_ymin28926_MPP-0.2500_xmin-0_ymin-0_xmax-48_ymax-40"
SET = Path("BootstrapNucleiManualRegions_TCGA_05132021") / "tcga"


def labels() -> np.ndarray:
    """Two touching nuclei, one alone, one of the class unknown."""
    found = np.zeros((40, 48), np.int32)
    found[3:9, 2:8], found[3:9, 8:14], found[20:28, 30:38], found[30:35, 5:10] = 1, 2, 3, 4
    return found


CLASS_OF = {1: 1, 2: 4, 3: 4, 4: panoptils.UNKNOWN}


def mask() -> np.ndarray:
    codes = np.full((40, 48, 3), (2, panoptils.BACKGROUND, 0), np.uint8)
    for i, k in CLASS_OF.items():
        codes[labels() == i, 1] = k
    codes[3:9, 7:9, 2] = 255
    codes[36:, :, 0] = codes[:, 46:, 1] = 0
    return codes


def table(*rows: str) -> str:
    found = ["group,type,xmin,ymin,xmax,ymax,coords_x,coords_y"]
    for i in CLASS_OF:
        ring = cv2.findContours((labels() == i).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0][:, 0]
        x, y = (",".join(map(str, axis)) for axis in ring.T)
        found.append(f'nucleus,polyline,0,0,0,0,"{x}","{y}"')
    return "\n".join([*found, *rows]) + "\n"


def add(folder: Path, name: str = NAME, text: str | None = None) -> None:
    write_image(folder / "rgbs" / f"{name}.png", np.full((40, 48, 3), 200, np.uint8))
    write_image(folder / "masks" / f"{name}.png", mask())
    if text is not None:
        (folder / "csv").mkdir(exist_ok=True)
        (folder / "csv" / f"{name}.csv").write_text(text)


def test_nuclei_come_from_the_table_and_classes_from_the_mask(tmp_path: Path, written):
    add(tmp_path / SET, text=table())
    source = panoptils.read(tmp_path)
    assert source.groups == {NAME: "TCGA-S3-AA15"}
    assert panoptils.read(tmp_path, group="slide").groups == {NAME: "TCGA-S3-AA15-DX1"}
    assert panoptils.read(tmp_path, group="hospital").groups == {NAME: "S3"}
    annotated = source.cases[0].load()
    np.testing.assert_array_equal(annotated.instances, np.where(labels() == 4, 0, labels()))
    assert annotated.class_of == {1: 1, 2: 4, 3: 4}
    excluded = (np.arange(40) >= 36)[:, None] | (np.arange(48) >= 46)
    np.testing.assert_array_equal(annotated.ignored, (labels() == 4) | excluded)
    assert annotated.left_out == {UNCLEAR: 1}
    written(source)


def test_without_tables_the_edges_of_the_mask_part_nuclei(tmp_path: Path):
    add(tmp_path)
    annotated = panoptils.read(tmp_path).cases[0].load()
    expected = np.where(labels() == 4, 0, labels())
    pairs = set(zip(annotated.instances.flat, expected.flat, strict=True))
    assert len(pairs) == len(set(np.unique(expected)))
    assert sorted(annotated.class_of.values()) == [1, 4, 4]
    assert annotated.remarks == {panoptils.FROM_MASK: 4}


def test_without_tables_nuclei_of_two_classes_stay_apart_without_an_edge(tmp_path: Path):
    add(tmp_path)
    codes = mask()
    codes[..., 2] = 0
    write_image(tmp_path / "masks" / f"{NAME}.png", codes)
    annotated = panoptils.read(tmp_path).cases[0].load()
    by_class = {k: (annotated.instances == i).sum() for i, k in annotated.class_of.items() if i < 3}
    assert by_class == {1: 36, 4: 36}


def test_without_tables_what_is_no_more_than_edge_is_ignored_and_counted(tmp_path: Path):
    add(tmp_path)
    codes = mask()
    codes[20:28, 30:38, 2] = codes[3:9, 2:7, 2] = 255
    write_image(tmp_path / "masks" / f"{NAME}.png", codes)
    annotated = panoptils.read(tmp_path).cases[0].load()
    assert annotated.left_out == {panoptils.ALL_EDGE: 2, UNCLEAR: 1}
    assert annotated.ignored[20:28, 30:38].all()
    assert annotated.ignored[3:9, 2:8].all()
    assert not annotated.instances[annotated.ignored].any()


def test_outlines_of_another_image_are_refused(tmp_path: Path):
    add(tmp_path, text=table().splitlines()[0] + '\nnucleus,polyline,0,0,0,0,"500,510,510","500,500,509"\n')
    with pytest.raises(NucplanError, match=rf"{NAME}\.csv: all outlines lie outside of the image"):
        panoptils.read(tmp_path).cases[0].load()


@pytest.mark.parametrize(
    ("file", "keep", "message"),
    [(f"rgbs/{NAME}.png", 40, "damaged"), (f"masks/{NAME}.png", 40, "damaged"), (f"csv/{NAME}.csv", -1, "no table")],
)
def test_files_cut_short_or_of_another_encoding_are_refused_by_name(tmp_path: Path, file: str, keep: int, message: str):
    add(tmp_path, text=table())
    path = tmp_path / file
    # The last byte of the table becomes the first of a longer character of UTF-8.
    path.write_bytes(path.read_bytes()[:keep] + (b"\xe4" if path.suffix == ".csv" else b""))
    with pytest.raises(NucplanError, match=rf"{file} is {message}"):
        panoptils.read(tmp_path).cases[0].load()


def test_official_splits_lie_beside_the_images(tmp_path: Path):
    add(tmp_path / SET, text=table())
    splits = (tmp_path / SET).parent / "train_test_splits"
    splits.mkdir()
    (splits / "fold_1_test.csv").write_text(",slide_name\n0,TCGA-S3-AA15-DX1\n")
    for given in (tmp_path, tmp_path / SET):
        assert panoptils.read(given, fold="1").cases[0].part == "Ts"


def test_bad_input_is_refused_or_counted(tmp_path: Path):
    with pytest.raises(NucplanError, match="holds no rgbs; give the folder"):
        panoptils.read(tmp_path)
    add(tmp_path, text=table('nucleus,polyline,0,0,0,0,"1,2","1,2"'))
    assert panoptils.read(tmp_path).cases[0].load().left_out == {TOO_FEW_POINTS: 1, UNCLEAR: 1}
    add(tmp_path, text=table('nucleus,polyline,0,0,0,0,"1,2,3","1,2"'))
    with pytest.raises(NucplanError, match=r"csv, line 6, has no pairs"):
        panoptils.read(tmp_path).cases[0].load()
    codes = mask()
    codes[0, 0, 1] = 10
    write_image(tmp_path / "masks" / f"{NAME}.png", codes)
    with pytest.raises(NucplanError, match=r"png has the nucleus code 10"):
        panoptils.read(tmp_path).cases[0].load()
    write_image(tmp_path / "masks" / f"{NAME}.png", codes[..., 0])
    with pytest.raises(NucplanError, match=r"png has one channel"):
        panoptils.read(tmp_path).cases[0].load()
    (tmp_path / "csv" / f"{NAME}.csv").unlink()
    assert "has no table" in panoptils.read(tmp_path).faults[0]
    (tmp_path / "masks" / f"{NAME}.png").unlink()
    assert "has no annotation" in panoptils.read(tmp_path).faults[0]
