from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.against_source import differences_from_source, partition_difference
from nucplan.datasets.formats import ome
from nucplan.datasets.multiplex.intensities import NEGATIVE
from nucplan.datasets.record import CONVERSION, read_record
from nucplan.datasets.verify import verify_raw
from nucplan.errors import NucplanError
from nucplan.images import write_image, write_label_map

from ..touching import label_map

MARKERS = ("DAPI", "CD3", "CD20")


def planes(dtype: type = np.uint16) -> np.ndarray:
    """(3, H, W) of values that tell the planes apart."""
    return np.stack([(label_map() > 0) * 100 + 10 * channel for channel in range(3)]).astype(dtype)


def add_ome(path: Path, pixels: np.ndarray, names: tuple[str, ...] | None = MARKERS, **metadata: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if names is not None:
        metadata["Channel"] = {"Name": list(names)}
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5} | metadata
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=metadata)


def add_mibi(path: Path, pixels: np.ndarray, names: tuple[str, ...] = MARKERS) -> None:
    """Pages as mibilib writes them: the target in the JSON of each page, pixels per centimetre, a picture last."""
    with tifffile.TiffWriter(path) as file:
        for mass, (plane, name) in enumerate(zip(pixels, names, strict=True), start=89):
            described = {"mibi.run": "r", "image.type": "SIMS", "channel.mass": mass, "channel.target": name}
            page_name = (285, "s", 0, f"{name} ({mass})")
            options = {"resolution": (25_600, 25_600), "resolutionunit": 3, "extratags": [page_name]}
            file.write(plane, metadata=described, software="IonpathMIBIv1.0", **options)
        file.write(np.zeros((5, 6, 3), np.uint8), photometric="rgb", metadata={"image.type": "Optical"})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for stem in "ab":
        add_ome(tmp_path / f"{stem}.ome.tif", planes())
        write_label_map(tmp_path / f"{stem}_mask.tif", label_map())
    return tmp_path


def test_names_pixel_size_and_planes_come_from_the_file(source: Path, written):
    raw = written(ome.read(source))
    assert raw.cases() == ["a", "b"]
    assert (raw.info.markers, raw.info.mpp) == (MARKERS, 0.5)
    assert partition_difference(raw.instances("a"), label_map()) is None
    np.testing.assert_array_equal(raw.image("a"), np.moveaxis(planes(), 0, -1))


@pytest.mark.parametrize("folders", [("images", "masks"), ("img", "labels")])
@pytest.mark.parametrize("ending", ["", "_mask"])
def test_masks_may_lie_in_a_folder(tmp_path: Path, folders: tuple[str, str], ending: str):
    add_ome(tmp_path / folders[0] / "a.ome.tiff", planes())
    write_label_map(tmp_path / folders[1] / f"a{ending}.tiff", label_map())
    (case,) = ome.read(tmp_path).cases
    np.testing.assert_array_equal(case.load().instances, label_map())


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [(500, "nm", 0.5), (0.0005, "mm", 0.5), (0.00005, "cm", 0.5), (0.25, "µm", 0.25), (1, "pixel", None)],
)
def test_pixel_sizes_are_converted_to_microns(tmp_path: Path, size: float, unit: str, expected: float | None):
    units = {f"PhysicalSize{axis}{what}": value for axis in "XY" for what, value in (("", size), ("Unit", unit))}
    add_ome(tmp_path / "a.ome.tif", planes(), **units)
    write_label_map(tmp_path / "a_mask.tif", label_map())
    assert ome.read(tmp_path).mpp == (expected if expected is None else pytest.approx(expected))


def test_pixels_that_are_not_square_or_differ_between_images_are_said(source: Path):
    add_ome(source / "b.ome.tif", planes(), PhysicalSizeX=0.52, PhysicalSizeY=0.52)
    found = ome.read(source)
    assert (found.mpp, found.faults) == (None, ())
    assert re.search(r"differ \(a\.ome\.tif 0\.5, b\.ome\.tif 0\.52\).*--mpp", found.remarks[0])
    add_ome(source / "b.ome.tif", planes(), PhysicalSizeX=0.25)
    assert re.search(r"b\.ome\.tif has pixels of 0\.25 x 0\.5 um", ome.read(source).faults[0])


@pytest.mark.parametrize("size", [0.25, 1.0])
def test_images_of_another_magnification_are_refused_by_name(source: Path, size: float):
    add_ome(source / "c.ome.tif", planes(), PhysicalSizeX=size, PhysicalSizeY=size)
    write_label_map(source / "c_mask.tif", label_map())
    found = ome.read(source)
    assert [case.name for case in found.cases] == ["a", "b"]
    assert found.mpp == 0.5
    assert re.search(rf"c\.ome\.tif has pixels of {size:g} microns, but most images have 0\.5;", found.faults[0])


def test_channels_in_another_order_are_put_in_order_by_name(source: Path):
    add_ome(source / "b.ome.tif", planes()[[2, 0, 1]], ("CD20", "DAPI", "CD3"))
    first, second = (case.load().image for case in ome.read(source).cases)
    np.testing.assert_array_equal(first, second)


def test_markers_that_an_image_lacks_are_planes_of_zeros_and_named_as_absent(source: Path, written):
    add_ome(source / "b.ome.tif", planes()[[2, 0]] + 1, ("CD8", "dapi"))
    found = ome.read(source)
    assert found.markers == (*MARKERS, "CD8")
    assert "CD3 (1), CD20 (1), CD8 (1)" in found.remarks[0]
    raw = written(found)
    assert raw.info.absent == {"a": ("CD8",), "b": ("CD3", "CD20")}
    nothing = np.zeros(label_map().shape)
    np.testing.assert_array_equal(raw.image("a"), np.dstack([*planes(), nothing]))
    np.testing.assert_array_equal(raw.image("b"), np.dstack([planes()[0] + 1, nothing, nothing, planes()[2] + 1]))
    assert list(differences_from_source(raw, found, read_record(raw.dataset.raw))) == []


def test_another_order_is_the_same_panel(source: Path, written):
    add_ome(source / "b.ome.tif", planes()[[2, 0, 1]], ("CD20", "DAPI", "CD3"))
    raw = written(ome.read(source))
    assert raw.info.absent == {}
    assert "absent" not in json.loads(raw.dataset.dataset_json.read_text())["nuclei"]


def test_a_signal_of_a_marker_that_is_said_to_be_absent_is_refused(source: Path, written):
    add_ome(source / "b.ome.tif", planes()[:2], MARKERS[:2])
    raw = written(ome.read(source))
    write_image(raw.image_paths("b")[2], planes()[0])
    with pytest.raises(NucplanError, match=r"b_0002\.png holds a signal, but nuclei\.absent says that b lacks CD20;"):
        verify_raw(raw.dataset)
    content = json.loads(raw.dataset.dataset_json.read_text())
    for absent, words in (({"x": ["CD20"]}, "names the case 'x'"), ({"b": ["CD99"]}, "names the marker 'CD99'")):
        content["nuclei"]["absent"] = absent
        raw.dataset.dataset_json.write_text(json.dumps(content))
        with pytest.raises(NucplanError, match=words):
            verify_raw(raw.dataset)


def test_factors_to_16_bits_are_kept_for_prediction(source: Path, written):
    add_ome(source / "b.ome.tif", planes(np.float32) / 3)
    raw = written(ome.read(source))
    assert tuple(raw.info.factors) == MARKERS
    assert raw.info.units == tuple(raw.info.factors.values())


def test_a_stain_that_returns_is_numbered(tmp_path: Path):
    add_ome(tmp_path / "a.ome.tif", planes(), ("DAPI", "CD3", "DAPI"))
    write_label_map(tmp_path / "a_mask.tif", label_map())
    assert ome.read(tmp_path).markers == ("DAPI", "CD3", "DAPI_2")


def test_mibitiff_pages_are_named_by_their_targets(tmp_path: Path, written):
    add_mibi(tmp_path / "p1.tiff", planes(np.uint8))
    write_image(tmp_path / "p1_labels.png", label_map())
    raw = written(ome.read(tmp_path))
    assert raw.info.markers == MARKERS
    assert raw.info.mpp == pytest.approx(10_000 / 25_600)
    np.testing.assert_array_equal(raw.image("p1"), np.moveaxis(planes(np.uint8), 0, -1))


@pytest.mark.parametrize("axes", ["CYX", "YXC", "ZCYX", "CZYX", "QYX", "TCZYX"])
def test_planes_are_found_whatever_the_axes(tmp_path: Path, axes: str):
    pixels = planes()
    shape = [{"C": 3, "Q": 3, "Y": 32, "X": 40}.get(axis, 1) for axis in axes]
    stored = np.moveaxis(pixels, 0, -1) if axes == "YXC" else pixels.reshape(shape)
    metadata = None if axes == "QYX" else {"axes": axes}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", metadata=metadata)
    write_label_map(tmp_path / "a_mask.tif", label_map())
    (tmp_path / "markers.csv").write_text("marker_name\n" + "\n".join(MARKERS))
    (case,) = ome.read(tmp_path).cases
    np.testing.assert_array_equal(case.load().image, np.moveaxis(pixels, 0, -1))


def test_several_focal_planes_are_refused(source: Path):
    add_ome(source / "b.ome.tif", np.stack([planes()] * 2), axes="ZCYX")
    assert re.search(r"b\.ome\.tif has several focal planes.*Z 2", ome.read(source).faults[0])


def test_intensities_that_are_fractions_get_one_factor_per_marker_for_all_images(source: Path, written):
    pixels = np.stack([label_map() > 0, label_map() > 3, label_map() > 7]).astype(np.float32) * np.array(
        [[[0.5]], [[20.0]], [[0.0]]], np.float32
    )
    add_ome(source / "a.ome.tif", pixels)
    add_ome(source / "b.ome.tif", pixels / 2 - (pixels == 0))
    found = ome.read(source)
    assert "DAPI by 131070, CD3 by 3276.75, CD20 by 1." in found.remarks[0]
    raw = written(found)
    assert json.loads((raw.dataset.raw / CONVERSION).read_text())["notes"] == list(found.remarks)
    np.testing.assert_array_equal(np.unique(raw.image("a")[..., 0]), [0, 65_535])
    np.testing.assert_array_equal(np.unique(raw.image("b")[..., 1]), [0, 32_768])
    assert found.cases[1].load().remarks[NEGATIVE] == int((pixels == 0).sum())


def test_whole_numbers_stay_as_they_are(source: Path):
    for stem in "ab":
        add_ome(source / f"{stem}.ome.tif", planes(np.int32))
    found = ome.read(source)
    assert found.remarks == ()
    image = found.cases[0].load().image
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, np.moveaxis(planes(), 0, -1))


def test_intensities_that_are_no_numbers_are_refused_by_name(source: Path):
    pixels = planes(np.float32)
    pixels[0, 0, 0] = np.nan
    add_ome(source / "a.ome.tif", pixels)
    with pytest.raises(NucplanError, match=r"a\.ome\.tif holds intensities that are no numbers"):
        ome.read(source).cases[0].load()


def test_the_pixels_of_one_image_are_read_when_it_is_loaded(source: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("pixels were read while listing")

    with monkeypatch.context() as patch:
        for reader in (tifffile.TiffPageSeries, tifffile.TiffPage, tifffile.TiffFrame):
            patch.setattr(reader, "asarray", refuse)
        found = ome.read(source)
    assert found.cases[0].load().image.shape == (32, 40, 3)


TABLES = {
    "MCMICRO": ("markers.csv", "cycle_number,marker_name\n1,DAPI\n1,CD3\n2,CD20\n", MARKERS),
    "rows by channel number": (
        "markers.csv",
        "channel_number,cycle_number,marker_name\n3,2,CD20\n1,1,DAPI\n2,1,CD3\n",
        MARKERS,
    ),
    "channels counted in each cycle": (
        "markers.csv",
        "channel_number,cycle_number,marker_name\n1,2,CD20\n1,1,DAPI\n2,1,CD3\n",
        MARKERS,
    ),
    "removed": ("markers.csv", "marker_name,remove\nDAPI,\nCD3,TRUE\nCD20,FALSE\n", ("DAPI", "CD20")),
    "steinbock": ("panel.csv", "channel,name,keep\nIr191,DAPI,1\nEr170,CD3,1\nDy161,CD20,1\n", MARKERS),
    "steinbock, all planes there": ("panel.csv", "channel,name,keep\nA,DAPI,1\nB,,0\nC,CD20,1\n", ("DAPI", "CD20")),
    "steinbock, kept planes there": (
        "panel.csv",
        "channel,name,keep\nX,,0\nA,DAPI,1\nB,CD3,1\nC,CD20,1\n",
        MARKERS,
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_name_and_choose_the_planes(source: Path, case: str):
    name, text, expected = TABLES[case]
    for stem in "ab":
        add_ome(source / f"{stem}.ome.tif", planes(), None)
    (source / name).write_text(text)
    found = ome.read(source)
    assert (found.markers, found.faults) == (expected, ())
    indices = [MARKERS.index(marker) for marker in expected]
    np.testing.assert_array_equal(found.cases[0].load().image, np.moveaxis(planes()[indices], 0, -1))


def test_a_table_in_another_order_than_the_file_is_refused(source: Path):
    (source / "markers.csv").write_text("marker_name\nCD3\nDAPI\nCD20\n")
    assert re.search(r"a\.ome\.tif names its planes DAPI, CD3, CD20, but .*another order", ome.read(source).faults[0])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"markers.csv": "name\nDAPI\n"}, r"markers\.csv needs rows with the column marker_name"),
        ({"markers.csv": "marker_name,remove\nDAPI,perhaps\n"}, r"markers\.csv has 'perhaps' under remove"),
        ({"panel.csv": "channel,name,keep\nA,,1\n"}, r"panel\.csv has a row without a name"),
        ({"panel.csv": "channel,name\nA,B\n", "markers.csv": "marker_name\nB\n"}, r"both markers\.csv and panel\.csv"),
    ],
)
def test_bad_tables_are_refused_by_name(source: Path, files: dict[str, str], message: str):
    for name, text in files.items():
        (source / name).write_text(text)
    with pytest.raises(NucplanError, match=message):
        ome.read(source)


def test_planes_without_names_or_with_a_table_of_another_length_are_faults(source: Path):
    add_ome(source / "a.ome.tif", planes(), None)
    add_ome(source / "b.ome.tif", planes(), None)
    assert re.search(r"a\.ome\.tif does not name its 3 planes; add a markers\.csv", ome.read(source).faults[0])
    (source / "markers.csv").write_text("marker_name\nDAPI\nCD3\n")
    assert re.search(r"a\.ome\.tif has 3 planes, but .*markers\.csv has 2 rows", ome.read(source).faults[0])


def test_missing_halves_and_pictures_are_faults(source: Path):
    (source / "a_mask.tif").unlink()
    assert re.search(r"a\.ome\.tif has no mask of the same name", ome.read(source).faults[0])
    tifffile.imwrite(source / "c.tif", np.zeros((32, 40, 3), np.uint8), photometric="rgb")
    write_label_map(source / "c_mask.tif", label_map())
    assert re.search(r"c\.tif is an RGB picture", ome.read(source).faults[-1])
    for path in source.iterdir():
        if path.is_file():
            path.unlink()
    with pytest.raises(NucplanError, match="holds no TIFF image"):
        ome.read(source)


def test_damaged_xml_is_refused_by_name(source: Path):
    content = (source / "b.ome.tif").read_bytes()
    (source / "b.ome.tif").write_bytes(content.replace(b"</OME>", b"</OMF>"))
    assert re.search(r"b\.ome\.tif", ome.read(source).faults[0])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_file_cut_short_is_refused_and_not_filled_with_zeros(source: Path, compression: str | None, share: float):
    noise = np.random.default_rng(0).integers(1, 60_000, (3, 32, 40), np.uint16)
    metadata = {"axes": "CYX", "Channel": {"Name": list(MARKERS)}}
    options = {"ome": True, "photometric": "minisblack", "metadata": metadata, "compression": compression}
    tifffile.imwrite(source / "b.ome.tif", noise, **options)
    content = (source / "b.ome.tif").read_bytes()
    (source / "b.ome.tif").write_bytes(content[: int(len(content) * share)])
    (source / "markers.csv").write_text("marker_name\n" + "\n".join(MARKERS))
    found = ome.read(source)
    if found.faults:
        assert "b.ome.tif" in found.faults[0]
        return
    # What is lost may be the XML at the end alone.
    with suppress(NucplanError):
        np.testing.assert_array_equal(found.cases[1].load().image, np.moveaxis(noise, 0, -1))


@pytest.mark.parametrize("kind", ["ome", "imagej", "plain", "mibi"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_of_a_file_cut_short_no_table_of_markers_is_asked(tmp_path: Path, kind: str, share: float):
    path = tmp_path / "a.tif"
    if kind == "ome":
        add_ome(path, planes())
    elif kind == "mibi":
        add_mibi(path, planes())
    else:
        tifffile.imwrite(path, planes(), imagej=kind == "imagej", photometric="minisblack")
    write_label_map(tmp_path / "a_mask.tif", label_map())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    (fault,) = ome.read(tmp_path).faults
    assert re.search(r"a\.tif is damaged or cut short.*; copy", fault)


def test_planes_that_imagej_announces_must_be_there(tmp_path: Path):
    text = "ImageJ=1.11a\nimages=3\nchannels=3\nhyperstack=true\nmode=grayscale\n"
    tifffile.imwrite(tmp_path / "a.tif", planes()[0], description=text, metadata=None)
    write_label_map(tmp_path / "a_mask.tif", label_map())
    assert re.search(r"a\.tif is damaged or cut short; copy it again", ome.read(tmp_path).faults[0])


def test_a_plane_in_a_file_that_is_missing_is_not_filled_with_zeros(tmp_path: Path):
    channels = "".join(f'<Channel ID="Channel:0:{i}" Name="{name}"/>' for i, name in enumerate("AB"))
    data = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1"><UUID FileName="{name}.ome.tif">urn:uuid:{i}</UUID></TiffData>'
        for i, name in enumerate("ab")
    )
    pixels = 'DimensionOrder="XYCZT" Type="uint16" SizeX="40" SizeY="32" SizeC="2" SizeZ="1" SizeT="1"'
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" {pixels}>{channels}{data}</Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", planes()[0], description=xml, metadata=None)
    write_label_map(tmp_path / "a_mask.tif", label_map())
    assert re.search(r"a\.ome\.tif lacks planes that its header lists", ome.read(tmp_path).faults[0])


def test_two_masks_of_one_image_are_a_fault_of_that_image_alone(source: Path):
    write_label_map(source / "a_labels.tif", label_map())
    found = ome.read(source)
    assert [case.name for case in found.cases] == ["b"]
    assert re.search(r"a_labels\.tif and .*a_mask\.tif have the same name", found.faults[0])
