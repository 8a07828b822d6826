from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.cli.convert import main
from nucplan.datasets import all_formats
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.synthetic import write_synthetic
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
        (["nothing", "SOURCE", "7", "Demo"], "There is no format 'nothing'; choose one of"),
        (["folder", "nowhere", "7", "Demo"], "folder nowhere does not exist"),
        (["dsb2018", "nowhere", "7", "Demo"], "folder nowhere does not exist"),
        (["folder", __file__, "7", "Demo"], "is not a folder; unpack it"),
        (["folder", "SOURCE", "0", "Demo"], "1 to 999"),
        (["folder", "SOURCE", "7", "De mo"], "letters, digits"),
        (["folder", "SOURCE", "7", "Demo", "--mpp", "-1"], "pixel size"),
        (["folder", "SOURCE", "7", "Demo", "--test-split", "2"], "between 0 and 1"),
        (["folder", "SOURCE", "7", "Demo", "--groups", "none.csv"], "none.csv cannot be read"),
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
    assert not list((tmp_path / "root").glob("*/*"))


def test_the_list_names_every_format(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as left:
        main(["--list"])
    assert left.value.code == 0
    first_words = {line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()}
    assert set(all_formats()) <= first_words
