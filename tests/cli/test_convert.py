from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.cli.convert import main
from nucplan.cli.time_limit import TimeIsOver
from nucplan.datasets import all_formats, find_format
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.record import read_record
from nucplan.datasets.reservation import new_dataset, reserved
from nucplan.datasets.synthetic import write_synthetic
from nucplan.images import read_image, write_label_map
from nucplan.layout import find_dataset, resolve_roots


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_synthetic(folder, images=4, size=64, images_per_slide=2)
    return folder


def test_it_says_what_it_wrote_and_what_to_type_next(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["folder", str(source), "7", "Demo", "--test-split", "0.5", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "4 images (2 to train on, 2 to test on), 2 groups" in said
    assert "nucplan_plan_and_preprocess 7" in said


def test_options_override_what_the_source_says(source: Path, tmp_path: Path):
    groups = tmp_path / "groups.csv"
    groups.write_text("image,group\n" + "".join(f"image_{i:03d},patient_{i}\n" for i in range(4)))
    options = ["--groups", str(groups), "--mpp", "0.5", "--root", str(tmp_path)]
    assert main(["folder", str(source), "7", "Demo", *options]) == 0
    info = RawDataset(find_dataset(resolve_roots(tmp_path), 7)).info
    assert info.mpp == 0.5
    assert info.groups["image_003"] == "patient_3"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["matlab", "SOURCE", "7", "Demo"], "There is no format 'matlab'; choose one of"),
        (["folder", "nowhere", "7", "Demo"], "folder nowhere does not exist"),
        (["dsb2018", "nowhere", "7", "Demo"], "folder nowhere does not exist"),
        (["folder", __file__, "7", "Demo"], "is not a folder; unpack it"),
        (["folder", "SOURCE", "0", "Demo"], "1 to 999"),
        (["folder", "SOURCE", "7", "De mo"], "letters, digits"),
        (["folder", "SOURCE", "7", "Demo", "--mpp", "-1"], "pixel size -1.0 of --mpp"),
        (
            ["folder", "SOURCE", "7", "Demo", "--mpp", "250"],
            "pixel size 250.0 of --mpp is not a number",
        ),
        (["folder", "SOURCE", "7", "Demo", "--tile", "31"], "--tile 31 is too small for whole nuclei; give 32 or more"),
        (["folder", "SOURCE", "7", "Demo", "--test-split", "2"], "--test-split 2.0 is not between 0 and 1"),
        (["folder", "SOURCE", "7", "Demo", "--groups", "none.csv"], "none.csv cannot be read"),
        (["folder", "SOURCE", "7", "Demo", "--overlap", "8"], "no meaning without --tile"),
        (["folder", "SOURCE", "7", "Demo", "--tile", "8", "--overlap", "8"], "smaller than the tile"),
        (["folder", "SOURCE", "7", "Demo", "--tile", "0"], "cannot be cut"),
        (["folder", "SOURCE", "7", "Demo", "--classes", "nothing"], "no class 'nothing'"),
        (["folder", "SOURCE", "7", "Demo", "--set", "fold=1"], "--set fold=1 is no choice of the format folder"),
    ],
)
def test_bad_input_ends_with_code_2_and_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str
):
    arguments = [str(source) if a == "SOURCE" else a for a in arguments]
    assert main([*arguments, "--root", str(tmp_path / "root")]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "root").exists()


def test_an_id_that_another_conversion_works_on_is_refused(source: Path, tmp_path: Path, assert_refused: Callable):
    with reserved(new_dataset(resolve_roots(tmp_path), 7, "Other")):
        code = main(["folder", str(source), "7", "Demo", "--root", str(tmp_path)])
    assert_refused(code, "The dataset id 7 is being converted by another process")


def said_by(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        main([*arguments])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_the_list_names_every_format_and_describes_one(capsys: pytest.CaptureFixture):
    listed = {line.split()[0] for line in said_by(capsys, "--list").splitlines() if line}
    assert set(all_formats()) <= listed
    assert "SOURCE/images/<stem>" in said_by(capsys, "--list", "folder")


def test_an_unknown_format_is_not_described(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as left:
        main(["--list", "matlab"])
    assert left.value.code == 2
    assert "choose one of" in capsys.readouterr().err


def test_what_was_left_out_and_skipped_is_said(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    shutil.copytree(source, tmp_path / "copy")
    broken = next((tmp_path / "copy" / "images").glob("image_002.*"))
    broken.write_bytes(broken.read_bytes()[:60])
    command = ["folder", str(tmp_path / "copy"), "7", "Demo", "--root", str(tmp_path / "root")]
    assert main(command) == 2
    assert not list((tmp_path / "root").glob("*/*"))
    kept = find_format("folder").read(source).class_names[0]
    assert main([*command, "--skip-bad", "--classes", f"one={kept}"]) == 0
    said = capsys.readouterr().out
    assert "3 images" in said
    assert f"skipped: 1 image\n    {broken} is damaged" in said
    assert re.search(r"left out: \d+ of the class \w+, which --classes leaves out", said)
    assert "nucplan_verify 7" in said


def test_options_are_kept_for_those_who_read_the_source_again(source: Path, tmp_path: Path):
    options = ["--tile", "40", "--overlap", "8", "--mpp", "0.5", "--trust", "--root", str(tmp_path)]
    assert main(["folder", str(source), "7", "Demo", *options]) == 0
    record = read_record(find_dataset(resolve_roots(tmp_path), 7).raw)
    assert (record.format, record.source) == ("folder", str(source.resolve()))
    assert (record.options["tile"], record.options["overlap"], record.options["mpp"]) == (40, 8, 0.5)
    assert "trust" not in json.dumps(record.options)


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (TimeIsOver, 75)])
def test_a_conversion_that_was_stopped_is_to_be_repeated(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, stop: type, code: int
):
    def stopped(*_: object) -> None:
        raise stop

    monkeypatch.setattr("nucplan.datasets.conversion.write_image", stopped)
    assert main(["folder", str(source), "7", "Demo", "--root", str(tmp_path / "root")]) == code
    assert "stopped; nothing was written, repeat the command." in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_is_named_with_the_way_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, assert_refused: Callable, number: int
):
    def full(*_: object) -> None:
        raise OSError(number, "No room")

    monkeypatch.setattr("nucplan.datasets.conversion.write_image", full)
    code = main(["folder", str(source), "7", "Demo", "--root", str(tmp_path / "root")])
    assert_refused(code, f"{tmp_path / 'root' / 'nnUNet_raw' / 'Dataset007_Demo'} cannot be", "No room; free space")


def test_what_was_counted_is_said(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    shutil.copytree(source, tmp_path / "copy")
    image, label = (next((tmp_path / "copy" / kind).glob("image_002.*")) for kind in ("images", "labels"))
    pixels = read_image(image)
    image.unlink()
    tifffile.imwrite(image.with_suffix(".tif"), np.dstack([pixels, pixels[..., 0]]), photometric="rgb")
    write_label_map(label.with_suffix(".tif"), np.zeros(pixels.shape[:2], np.int32))
    for table in (tmp_path / "copy" / "classes").glob("image_002.*"):
        table.with_suffix(".json").write_text("{}")
    assert main(["folder", str(tmp_path / "copy"), "7", "Demo", "--root", str(tmp_path / "root")]) == 0
    said = capsys.readouterr().out
    assert "counted: 1 image without a nucleus" in said
    assert "counted: 1 image whose last channel, such as transparency, was left out" in said
