"""The three files of HoVer-Net as annotated images; ``classes`` is 0 where nuclei have no classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nucplan.datasets.annotations.class_maps import classes_by_id, classes_by_pixel, label_plane, one_class
from nucplan.datasets.annotations.layers import ids_of
from nucplan.datasets.annotations.matlab import read_mat
from nucplan.datasets.annotations.pickles import map_array
from nucplan.datasets.annotations.polygons import Outline, draw, refuse_other_origin
from nucplan.datasets.annotations.stacks import eight_bit
from nucplan.datasets.raw import MAX_CLASSES
from nucplan.datasets.source import Annotated
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.images import read_image

# Planes of a training patch: RGB, ids and, where there are classes, classes.
UNCLASSED, CLASSED = 4, 5


def load_mat(image: Path, path: Path, classes: int) -> Annotated:
    """A MATLAB prediction.

    Nuclei whose contour has fewer than 3 points are in the map of HoVer-Net, but not in its list: they get class 0.
    """
    found = read_mat(path, ("inst_map",), ("inst_type", "inst_uid"))
    instances = label_plane(found["inst_map"], path)
    if not classes:
        return one_class(read_image(image), instances)
    types = dict.fromkeys(ids_of(instances), 0) | _types_of_mat(found, instances, path)
    return classes_by_id(read_image(image), instances, types)


def load_json(image: Path, path: Path, classes: int) -> Annotated:
    """A JSON prediction. Contours run through the centres of the outermost pixels, as OpenCV draws them."""
    nuclei, picture = _nuclei(path), read_image(image)
    types = {number: _type(number, nucleus, path) if classes else 1 for number, nucleus in nuclei.items()}
    outlines = [Outline([_contour(n, path)], types[number], centred=True) for number, n in nuclei.items()]
    drawn = draw(outlines, picture.shape[:2])
    refuse_other_origin(drawn, str(path))
    ids = np.array([0, *nuclei], np.int32)
    class_of = {int(ids[i]): class_id for i, class_id in drawn.class_of.items()}
    annotated = classes_by_id(picture, ids[drawn.instances], class_of, drawn.remarks)
    return annotated._replace(left_out={**drawn.left_out, **annotated.left_out})


def load_patch(_: Path, path: Path, classes: int) -> Annotated:
    """A training patch, picture and annotation in one array."""
    patch = _patch(path)
    image, ids = eight_bit(np.ascontiguousarray(patch[..., :3]), path), patch[..., 3]
    if not classes:
        return one_class(image, label_plane(ids, path))
    if patch.shape[2] < CLASSED:
        raise NucplanError(f"{path} has no fifth plane with classes; remove type_info.json to convert without classes.")
    return classes_by_pixel(image, ids, patch[..., 4], classes, path)


def highest_class_of_mat(path: Path) -> int:
    """The highest class number in a prediction as ``.mat``, 0 without classes; NucplanError if it is damaged."""
    found = read_mat(path, ("inst_map",), ("inst_type", "inst_uid"))
    if "inst_type" not in found:
        return 0
    types = _types_of_mat(found, label_plane(found["inst_map"], path), path)
    return max((_possible(class_id, number, path) for number, class_id in types.items()), default=0)


def highest_class_of_json(path: Path) -> int:
    """The highest class number in a prediction as ``.json``, 0 without classes; NucplanError if it is damaged."""
    return max((_type(number, nucleus, path) for number, nucleus in _nuclei(path).items()), default=0)


def highest_class_of_patch(path: Path) -> int:
    """The highest class number in a training patch, 0 without classes; NucplanError if it is damaged."""
    patch = _patch(path)
    return int(patch[..., 4].max(initial=0)) if patch.shape[2] == CLASSED else 0


def _types_of_mat(found: dict[str, np.ndarray], instances: np.ndarray, path: Path) -> dict[int, int]:
    """Id to class: by ``inst_uid``, by rows (id, class) as some versions write them, or in the order of the ids."""
    if "inst_type" not in found:
        raise NucplanError(f"{path} has no inst_type; remove type_info.json to convert without classes.")
    types = label_plane(np.atleast_2d(found["inst_type"]), path)
    ids = ids_of(instances)
    if "inst_uid" in found:
        ids = label_plane(np.atleast_2d(found["inst_uid"]), path).ravel().tolist()
    # Two classes in one row are one row (id, class) as well; the number of nuclei decides.
    elif types.shape[1] == 2 and types.size != len(ids):
        return dict(types.tolist())
    if types.size != len(ids):
        raise NucplanError(f"{path} has {types.size} classes in inst_type for {len(ids)} nuclei; predict it again.")
    return dict(zip(ids, types.ravel().tolist(), strict=True))


def _nuclei(path: Path) -> dict[int, dict[str, Any]]:
    content = read_json(path, "predict or export it again")
    nuclei = content.get("nuc") if isinstance(content, dict) else None
    if not isinstance(nuclei, dict) or not all(isinstance(nucleus, dict) for nucleus in nuclei.values()):
        raise NucplanError(f"{path} has no object 'nuc' with a nucleus per id; is it a prediction of HoVer-Net?")
    if odd := [key for key in nuclei if not key.isdecimal() or not 0 < int(key) <= np.iinfo(np.int32).max]:
        raise NucplanError(f"{path} has a nucleus with the id '{odd[0]}'; number them from 1.")
    return {int(key): nucleus for key, nucleus in nuclei.items()}


def _type(number: int, nucleus: dict[str, Any], path: Path) -> int:
    found = nucleus.get("type")
    if not isinstance(found, int | None):
        raise NucplanError(f"{path}: nucleus {number} is of the type {found!r}, which is no number; export it again.")
    return _possible(found or 0, number, path)


def _possible(class_id: int, number: int, path: Path) -> int:
    """``class_id``, unless it is one that no dataset can hold."""
    if not 0 <= class_id <= MAX_CLASSES:
        raise NucplanError(
            f"{path}: nucleus {number} is of the type {class_id}, not 0 to {MAX_CLASSES}; export it again."
        )
    return class_id


def _contour(nucleus: dict[str, Any], path: Path) -> np.ndarray:
    try:
        contour = np.asarray(nucleus["contour"], np.float64).reshape(-1, 2)
    except (KeyError, OverflowError, TypeError, ValueError):
        raise NucplanError(f"{path} has a nucleus without a 'contour' of [x, y] points; export it again.") from None
    if not np.isfinite(contour).all():
        raise NucplanError(f"{path} has a contour with a point that is no number; export it again.")
    return contour


def _patch(path: Path) -> np.ndarray:
    patch = map_array(path)
    if patch.ndim != 3 or patch.shape[2] not in (UNCLASSED, CLASSED) or patch.dtype.kind not in "biuf":
        raise NucplanError(
            f"{path} holds {patch.dtype} of shape {patch.shape}, not (height, width, 4 or 5); "
            "is it a patch of HoVer-Net?"
        )
    return patch
