from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from nucplan.errors import NucplanError
from nucplan.images import images_by_stem, noted_lost_channels, read_image, read_label_map, write_image, write_label_map

RGB = np.random.default_rng(1).integers(0, 255, (20, 30, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("image", [RGB, RGB[..., 1]], ids=["rgb", "grey"])
def test_lossless_formats_return_the_pixels_that_were_written(tmp_path: Path, suffix: str, image: np.ndarray):
    write_image(tmp_path / f"x{suffix}", image)
    np.testing.assert_array_equal(read_image(tmp_path / f"x{suffix}"), image)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("image", [RGB, RGB[..., 0]], ids=["rgb", "grey"])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, suffix: str, image: np.ndarray):
    deep = image.astype(np.uint16) * 257
    write_image(tmp_path / f"x{suffix}", deep)
    found = read_image(tmp_path / f"x{suffix}")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, deep)


def test_alpha_is_dropped_and_colours_keep_their_order(tmp_path: Path):
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 7, np.uint8)])
    cv2.imwrite(str(tmp_path / "x.png"), rgba[..., [2, 1, 0, 3]])
    tifffile.imwrite(tmp_path / "y.tif", rgba, photometric="rgb", extrasamples=("unassalpha",))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "y.tif"), RGB)


@pytest.mark.parametrize("alpha", [7, None])
def test_a_dropped_channel_is_noted_where_it_says_something(tmp_path: Path, alpha: int | None):
    last = RGB[..., 0] if alpha is None else np.full(RGB.shape[:2], alpha, np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", np.dstack([RGB, last]), photometric="rgb", extrasamples=("unspecified",))
    cv2.imwrite(str(tmp_path / "y.png"), np.dstack([RGB, last]))
    write_image(tmp_path / "z.png", RGB)
    paths = [tmp_path / name for name in ("x.tif", "y.png", "z.png")]
    with noted_lost_channels() as noted:
        for path in paths:
            read_image(path)
    assert noted == (set(paths[:2]) if alpha is None else set())


def test_planar_tiff_and_single_page_stack_are_resolved(tmp_path: Path):
    tifffile.imwrite(tmp_path / "planar.tif", np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "page.tif", RGB[None, ..., 0], photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "planar.tif"), RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "page.tif"), RGB[..., 0])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".bmp"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_a_cut_file_is_refused_by_name(tmp_path: Path, suffix: str, kept: float):
    path = tmp_path / f"cut{suffix}"
    write_image(path, RGB)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(NucplanError, match=r"cut\..*damaged"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_a_refusal_stands_alone_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture, suffix: str
):
    path = tmp_path / f"bad{suffix}"
    write_image(path, RGB)
    content = path.read_bytes()
    flipped = content[:200] + bytes([content[200] ^ 255]) + content[201:]
    # Of the three only a PNG has a checksum over its pixels.
    for damaged in [content[: len(content) // 2]] + [flipped] * (suffix == ".png"):
        path.write_bytes(damaged)
        with pytest.raises(NucplanError, match="damaged"):
            read_image(path)
    assert capfd.readouterr().err == ""
    assert caplog.text == ""
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_a_tiff_without_its_directory_is_refused_without_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "cut.tif"
    # libtiff writes the directory after the pixels; the header then points past the end of what was copied.
    path.write_bytes(b"II*\x00" + (4000).to_bytes(4, "little") + RGB.tobytes())
    with pytest.raises(NucplanError, match=r"cut\.tif is damaged or cut short"):
        read_image(path)
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["notes.txt", "slide.svs", "no_suffix"])
def test_another_format_is_refused_with_the_formats_that_are_read(tmp_path: Path, name: str):
    (tmp_path / name).write_text("text")
    with pytest.raises(NucplanError, match=rf"{name} is none of \.png, .*\.tif"):
        read_image(tmp_path / name)
    with pytest.raises(NucplanError, match=rf"{name} is none of \.png, .*\.tif"):
        read_label_map(tmp_path / name)


@pytest.mark.parametrize("pages", [2, 3, 4])
@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"metadata": None}], ids=["tifffile", "imagej", "plain"])
def test_pages_are_not_taken_for_colours(tmp_path: Path, pages: int, options: dict):
    stack = np.zeros((pages, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", **options)
    for read in (read_image, read_label_map):
        with pytest.raises(NucplanError, match=r"stack\.tif is a stack.*one plane"):
            read(tmp_path / "stack.tif")


def test_pages_that_were_appended_one_by_one_are_a_stack(tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "stack.tif") as writer:
        for _ in range(3):
            writer.write(RGB[..., 0])
    with pytest.raises(NucplanError, match="one plane"):
        read_image(tmp_path / "stack.tif")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("image", [RGB[:1], RGB[:, :1], RGB[:1, :1], RGB[:3], RGB[:1, :, 0], RGB[:, :1, 0]])
def test_narrow_images_keep_their_shape(tmp_path: Path, suffix: str, image: np.ndarray):
    write_image(tmp_path / f"x{suffix}", image)
    np.testing.assert_array_equal(read_image(tmp_path / f"x{suffix}"), image)


@pytest.mark.parametrize("name", ["x.png", "two_bits.png", "x.bmp"])
@pytest.mark.parametrize("palette", [[0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0], [0, 0, 0] + [255] * 9])
def test_the_ids_of_a_palette_picture_are_its_indices_whatever_the_colours(
    tmp_path: Path, name: str, palette: list[int]
):
    labels = RGB[..., 0] % 4
    picture = Image.fromarray(labels).convert("P")
    picture.putdata(labels.ravel().tolist())
    picture.putpalette(palette)
    picture.save(tmp_path / name, **({"bits": 2} if name.startswith("two") else {}))
    np.testing.assert_array_equal(read_label_map(tmp_path / name), labels)
    colours = np.array(picture.convert("RGB"))
    # OpenCV gives one channel where all colours of a BMP are grey.
    found = np.broadcast_to(np.atleast_3d(read_image(tmp_path / name)), colours.shape)
    np.testing.assert_array_equal(found, colours)


def test_a_cut_palette_picture_is_damaged(tmp_path: Path):
    Image.fromarray(RGB[..., 0]).convert("P").save(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:-200])
    with pytest.raises(NucplanError, match=r"x\.png is damaged"):
        read_label_map(tmp_path / "x.png")


def test_the_colours_of_a_palette_tiff_are_refused_and_its_ids_are_read(tmp_path: Path):
    colours = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", RGB[..., 0], photometric="palette", colormap=colours)
    np.testing.assert_array_equal(read_label_map(tmp_path / "x.tif"), RGB[..., 0])
    with pytest.raises(NucplanError, match=r"x\.tif holds a palette"):
        read_image(tmp_path / "x.tif")


def test_float_pixels_and_stacks_are_refused(tmp_path: Path):
    tifffile.imwrite(tmp_path / "float.tif", RGB[..., 0].astype(np.float32))
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((7, 20, 30), np.uint8), photometric="minisblack")
    with pytest.raises(NucplanError, match=r"float\.tif.*8 or 16 bits"):
        read_image(tmp_path / "float.tif")
    with pytest.raises(NucplanError, match=r"stack\.tif.*one plane"):
        read_image(tmp_path / "stack.tif")


def test_label_maps_keep_large_ids_and_accept_whole_floats(tmp_path: Path):
    labels = np.array([[0, 1, 70_000], [2, 2, 0]], np.int32)
    write_label_map(tmp_path / "x.tif", labels)
    tifffile.imwrite(tmp_path / "float.tif", labels.astype(np.float64))
    for name in ("x.tif", "float.tif"):
        found = read_label_map(tmp_path / name)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, labels)
    assert tifffile.imread(tmp_path / "x.tif").dtype == np.uint32


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (np.array([[0.0, 1.5]]), "fractional"),
        (np.array([[0.0, np.nan]]), "no numbers"),
        (np.array([[0, -1]], np.int32), "negative"),
        (np.array([[0, 2**31]], np.uint32), "renumber"),
        (RGB, "colour"),
    ],
)
def test_label_maps_that_mean_nothing_are_refused_by_name(tmp_path: Path, labels: np.ndarray, problem: str):
    tifffile.imwrite(tmp_path / "bad.tif", labels)
    with pytest.raises(NucplanError, match=rf"bad\.tif.*{problem}"):
        read_label_map(tmp_path / "bad.tif")


def test_a_label_map_as_jpeg_is_refused(tmp_path: Path):
    write_image(tmp_path / "x.jpg", RGB[..., 0])
    with pytest.raises(NucplanError, match="JPEG"):
        read_label_map(tmp_path / "x.jpg")


def test_two_files_of_one_stem_are_refused(tmp_path: Path):
    for suffix in (".png", ".tif"):
        write_image(tmp_path / f"same{suffix}", RGB)
    with pytest.raises(NucplanError, match="same stem"):
        images_by_stem(tmp_path)
