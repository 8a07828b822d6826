"""Outlined objects in GeoJSON, as QuPath writes them.

A FeatureCollection, a bare array of features or one feature, compressed where the name ends in ``.gz``. Coordinates
are pixels of level 0, x then y. Names of keys have changed between QuPath versions: ``object_type`` became
``objectType``, and the id was the type once.

Documented: https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html, and
QuPathTypeAdapters.java of qupath-core.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nucplan.errors import NucplanError

SUFFIXES = (".geojson", ".geojson.gz")
CELL = "cell"


@dataclass(frozen=True, eq=False)
class Feature:
    """One object.

    Attributes
    ----------
    rings : of the nucleus where there is one, else of the object: (n, 2) float64 x, y, outer and inner ones of all
        parts; empty where the object has no area (points, lines)
    kind : annotation, detection, cell, tile, ... in lower case; "" where the file does not say
    class_name : "" where the object has no classification; parts of derived classes are joined as in QuPath
    whole_cell : whether the object is a cell and its nucleus was not outlined
    """

    rings: list[np.ndarray]
    kind: str = ""
    class_name: str = ""
    whole_cell: bool = False


def stem_of(path: Path) -> str:
    """The name of a file without ``.geojson`` and ``.gz``."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return name[: -len(SUFFIXES[0])] if name.lower().endswith(SUFFIXES[0]) else name


def read_features(path: Path) -> list[Feature]:
    """The objects of a file, in its order.

    Raises
    ------
    NucplanError
        If the file is missing, damaged, no GeoJSON of features, or an object has no proper coordinates.
    """
    features = []
    for number, feature in enumerate(_features(_read(path), path), start=1):
        try:
            features.append(_feature(feature))
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
            raise NucplanError(
                f"{path}: object {number} has no proper geometry, properties or classification; export it again."
            ) from None
    return features


def _read(path: Path) -> Any:
    try:
        content = path.read_bytes()
        return json.loads(gzip.decompress(content) if path.suffix.lower() == ".gz" else content)
    except FileNotFoundError:
        raise NucplanError(f"{path} is missing; restore it.") from None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise NucplanError(f"{path} is damaged or no JSON ({error}); copy or export it again.") from None


def _features(content: Any, path: Path) -> Iterator[Any]:
    if isinstance(content, dict) and content.get("type") == "Feature":
        content = [content]
    elif isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    if not isinstance(content, list):
        raise NucplanError(f"{path} holds no GeoJSON features; export the objects of the image from QuPath.")
    return iter(content)


def _feature(feature: dict[str, Any]) -> Feature:
    properties = feature.get("properties") or {}
    kind = _kind(feature, properties)
    nucleus = feature.get("nucleusGeometry")
    rings = _rings(nucleus or feature.get("geometry") or {})
    return Feature(rings, kind, _class_name(properties.get("classification")), kind == CELL and not nucleus)


def _kind(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    """``PathDetectionObject`` of QuPath 0.2 is a ``detection``."""
    named = properties.get("objectType") or properties.get("object_type")
    if named is None and str(feature.get("id", "")).startswith("Path"):
        named = feature["id"]
    return str(named or "").lower().removeprefix("path").removesuffix("object").rstrip("_ ")


def _class_name(classification: dict[str, Any] | str | None) -> str:
    if isinstance(classification, dict):
        names = classification.get("names") or [classification.get("name") or ""]
        return ": ".join(str(name) for name in names).strip()
    return (classification or "").strip()


def _rings(geometry: dict[str, Any]) -> list[np.ndarray]:
    parts = {"Polygon": lambda found: [found], "MultiPolygon": list}.get(geometry.get("type"))
    if parts is None:
        return []
    # A third coordinate, which GeoJSON allows, has no meaning in an image.
    return [_ring(ring) for polygon in parts(geometry["coordinates"]) for ring in polygon]


def _ring(points: list[list[float]]) -> np.ndarray:
    return np.array([(float(point[0]), float(point[1])) for point in points], np.float64).reshape(-1, 2)
