"""Nuclei as GeoJSON that QuPath (0.6 and newer) opens: one detection per nucleus, written as a stream."""

from __future__ import annotations

import gzip
import io
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from nucplan.files import atomic_path
from nucplan.inference.outlines import Polygon, trace_outlines
from nucplan.instances import Instances
from nucplan.palette import class_colour

# A fixed name space, so that the same nucleus of the same image has the same UUID in every run.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "nucplan/nucleus")


def write_geojson(
    path: str | os.PathLike, instances: Instances, class_names: Sequence[str], mpp: float | None = None
) -> None:
    """Write a FeatureCollection, compressed where ``path`` ends in ``.gz``; whole or not at all.

    Coordinates are pixel edges in pixels, x then y, with (0, 0) at the upper left corner of the image.

    Parameters
    ----------
    path : path
        Its file name without suffixes enters the UUIDs.
    instances : Instances
    class_names : sequence of str
        Names of the classes 1..K.
    mpp : float, optional
        Microns per pixel; adds the area in square microns.
    """
    path = Path(path)
    features = _features(instances, class_names, mpp, path.name.removesuffix(".gz").removesuffix(".geojson"))
    with atomic_path(path) as temporary, _open_text(temporary) as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for feature in features:
            stream.write(separator + json.dumps(feature, separators=(",", ":")))
            separator = ",\n"
        stream.write("\n]}\n")


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    if path.suffix != ".gz":
        with open(path, "w", encoding="utf-8") as stream:
            yield stream
        return
    # Neither time nor name in the header: equal nuclei give equal bytes.
    with (
        open(path, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as stream,
    ):
        yield stream


def _features(
    instances: Instances, class_names: Sequence[str], mpp: float | None, image_name: str
) -> Iterator[dict[str, Any]]:
    classes = [{"name": name, "color": list(class_colour(k))} for k, name in enumerate(class_names, start=1)]
    table = instances.table
    probability = table.probability
    for nucleus, polygons in trace_outlines(instances):
        row = nucleus - 1
        k = int(table.class_id[row])
        measurements = {"Probability": round(float(probability[row]), 4)}
        if table.confidence is not None:
            measurements["Confidence"] = round(float(table.confidence[row]), 4)
        measurements["Area px^2"] = int(table.area[row])
        if mpp is not None:
            measurements["Area µm^2"] = round(float(table.area[row]) * mpp**2, 3)
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(NAMESPACE, f"{image_name}/{nucleus}")),
            "geometry": _geometry(polygons),
            "properties": {"objectType": "detection", "classification": classes[k - 1], "measurements": measurements},
        }


def _geometry(polygons: list[Polygon]) -> dict[str, Any]:
    rings = [[_closed(ring.tolist()) for ring in polygon] for polygon in polygons]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def _closed(ring: list[list[int]]) -> list[list[int]]:
    return [*ring, ring[0]]
