"""A manifest tells pretrained weights by their hash; a reproduction takes no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nucplan.errors import NucplanError
from nucplan.files import file_hash, write_json
from nucplan.layout import Dataset, resolve_roots
from nucplan.reproduction.encoders import Given, find_encoders, is_record, without_folders
from nucplan.reproduction.manifest import plans_and_splits
from nucplan.workflow.pretrained import Pretrained
from planners.pretrained import EncoderRequest

NAME = "Dataset001_A"
EMBEDDINGS = "marker_embeddings_0123abcd.npz"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Planned for weights that lie beside it."""
    made = Dataset(resolve_roots(tmp_path / "root"), NAME)
    for name in ("weights.bin", "other.bin", "table.csv", "embeddings.npz"):
        (tmp_path / name).write_text(name)
    weights = tmp_path / "weights.bin"
    request = EncoderRequest("virtues", weights, tmp_path / "embeddings.npz", tmp_path / "table.csv", True)
    record = {"file": str(weights), "sha256": file_hash(weights), "licence": "MIT", "marker_embeddings": EMBEDDINGS}
    section = {"decisions": {}, "weights": record, "encoder_request": request.to_json()}
    write_json(made.plans(), {"configurations": {}, "nucplan": section})
    return made


@pytest.fixture
def original(dataset: Dataset) -> dict:
    return plans_and_splits([dataset])


def test_the_manifest_has_hash_and_request_and_no_path(dataset, original, tmp_path):
    record = original["planning"][NAME]["encoder"]
    assert record == {
        "name": "virtues", "sha256": file_hash(tmp_path / "weights.bin"), "marker_embeddings": EMBEDDINGS,
        "marker_table": True, "break_contract": True,
    }  # fmt: skip
    assert is_record(record)
    assert not is_record(record | {"marker_embeddings": "../elsewhere.npz"})
    assert original["plans"][NAME]["weights"]["sha256"] == record["sha256"]
    assert str(tmp_path) not in json.dumps(original)


def test_what_the_plan_names_is_found_and_what_the_user_names_wins(dataset, original, tmp_path):
    expected = Pretrained.of_plan(json.loads(dataset.plans().read_text()))
    assert find_encoders(original, [dataset], Given()) == {NAME: expected}
    moved = (tmp_path / "weights.bin").rename(tmp_path / "moved.bin")
    assert find_encoders(original, [dataset], Given(moved))[NAME].weights == moved
    # A wrong file is no obstacle where the right one is known.
    (tmp_path / "weights.bin").write_text("weights.bin")
    assert find_encoders(original, [dataset], Given(tmp_path / "other.bin"))[NAME].weights == expected.weights


def test_the_embeddings_of_the_plan_stand_in_for_those_that_are_gone(dataset, original, tmp_path):
    (tmp_path / "embeddings.npz").unlink()
    with pytest.raises(NucplanError, match="give it with --marker-embeddings"):
        find_encoders(original, [dataset], Given())
    kept = dataset.preprocessed / EMBEDDINGS
    kept.write_text("embeddings")
    assert find_encoders(original, [dataset], Given())[NAME].marker_embeddings == kept


@pytest.mark.parametrize(
    ("gone", "given", "part"),
    [
        ("weights.bin", Given(), "their file is not here; give the file with --weights"),
        ("weights.bin", Given(Path("other.bin")), "other.bin has others; give the file with --weights"),
        ("table.csv", Given(), "give it with --marker-table"),
    ],
)
def test_files_that_are_missing_or_others_are_told_in_one_sentence(dataset, original, tmp_path, gone, given, part):
    (tmp_path / gone).unlink()
    given = Given(*(path and tmp_path / path for path in given))
    with pytest.raises(NucplanError, match=part) as error:
        find_encoders(original, [dataset], given)
    assert "\n" not in str(error.value)


def test_weights_for_a_manifest_without_encoder_are_refused(dataset, tmp_path):
    assert find_encoders({"planning": {NAME: {}}}, [dataset], Given()) == {}
    with pytest.raises(NucplanError, match="of no pretrained encoder"):
        find_encoders({"planning": {NAME: {}}}, [dataset], Given(tmp_path / "weights.bin"))


def test_the_commands_of_a_manifest_name_no_folder():
    words = ["plan", "--weights=/home/somebody/uni.bin", "--marker-table=a/b.csv", "--encoder=timm/vit", "--set=a=b/c"]
    assert without_folders(words) == [
        "plan", "--weights=uni.bin", "--marker-table=b.csv", "--encoder=timm/vit", "--set=a=b/c",
    ]  # fmt: skip
