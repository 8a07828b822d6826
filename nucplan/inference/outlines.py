"""Outlines of nuclei along the edges of their pixels: exact, with holes, for all nuclei of an image at once.

A pixel at (row, column) covers the square from (x = column, y = row) to (x = column + 1, y = row + 1). Each side of
a pixel that faces another label is a directed edge with its pixel on the right hand as seen on the screen; edges are
chained into rings by looking at the two pixels ahead.
"""

from __future__ import annotations

from collections.abc import Iterator

import cc3d
import numpy as np

from nucplan.instances import Instances

Ring = np.ndarray
Polygon = list[Ring]

# Nuclei traced together: bounds the memory of the edge lists.
NUCLEI_PER_CHUNK = 4096

# Right, down, left, up: a step to the pixel ahead, and the corner of a pixel where its side in that direction starts.
STEP_ROW, STEP_COLUMN = np.array([0, 1, 0, -1]), np.array([1, 0, -1, 0])
START_X, START_Y = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])


def trace_outlines(instances: Instances) -> Iterator[tuple[int, list[Polygon]]]:
    """Yield ``(id, polygons)`` for each nucleus by id; one polygon per 4-connected part.

    A polygon is a list of rings, the outer one first, then its holes. A ring is an (M, 2) int array of corners (x, y)
    in pixels, not repeated at the end; outer rings have a positive shoelace area, holes a negative one.
    """
    table = instances.table
    for first in range(0, len(table), NUCLEI_PER_CHUNK):
        chunk = slice(first, first + NUCLEI_PER_CHUNK)
        top, left = table.bounding_box[chunk, :2].min(axis=0)
        bottom, right = table.bounding_box[chunk, 2:].max(axis=0)
        crop = instances.labels[top:bottom, left:right]
        members = np.where((crop > first) & (crop <= first + NUCLEI_PER_CHUNK), crop, 0)
        yield from _trace(members, np.array([left, top]))


def _trace(labels: np.ndarray, origin: np.ndarray) -> Iterator[tuple[int, list[Polygon]]]:
    padded = np.pad(labels, 1)
    parts = cc3d.connected_components(padded, connectivity=4)
    keys = _edge_keys(parts)
    following = _following_edges(parts, keys).tolist()
    corners = _corners(keys, parts.shape[1]) + origin - 1
    turns = np.empty(len(keys), bool)
    turns[following] = keys[following] % 4 != keys % 4
    id_of_edge = padded.flat[keys // 4]
    part_of_edge = parts.flat[keys // 4]
    # Within a part the first edge in raster order lies on the outer ring.
    order = np.lexsort((part_of_edge, id_of_edge))
    nucleus, part, polygons = 0, 0, []
    for ring_start, ring in _rings(order.tolist(), following):
        if id_of_edge[ring_start] != nucleus:
            if polygons:
                yield nucleus, polygons
            nucleus, polygons = int(id_of_edge[ring_start]), []
        if part_of_edge[ring_start] != part:
            part = part_of_edge[ring_start]
            polygons.append([])
        polygons[-1].append(corners[ring][turns[ring]])
    if polygons:
        yield nucleus, polygons


def _edge_keys(parts: np.ndarray) -> np.ndarray:
    """Each edge as 4 x flat pixel index + direction, sorted; ``parts`` has a margin of 0."""
    keys = []
    for direction in range(4):
        # The side that runs to the right is the upper one: it faces the pixel to the left of its direction.
        outward = (direction - 1) % 4
        facing = np.roll(parts, (-STEP_ROW[outward], -STEP_COLUMN[outward]), axis=(0, 1))
        keys.append(4 * np.flatnonzero((parts > 0) & (parts != facing)) + direction)
    return np.sort(np.concatenate(keys))


def _following_edges(parts: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The index of the edge that continues each edge.

    Where a part meets itself at a corner the ring turns left, to the other pixel: then no ring touches itself, which
    readers of GeoJSON demand; a hole may touch its outer ring in a point.
    """
    steps = STEP_ROW * parts.shape[1] + STEP_COLUMN
    pixel, direction = keys // 4, keys % 4
    ahead = pixel + steps[direction]
    ahead_left = ahead + steps[(direction - 1) % 4]
    goes_on = parts.flat[ahead] == parts.flat[pixel]
    turns_left = parts.flat[ahead_left] == parts.flat[pixel]
    next_pixel = np.where(turns_left, ahead_left, np.where(goes_on, ahead, pixel))
    next_direction = (direction + np.where(turns_left, -1, np.where(goes_on, 0, 1))) % 4
    return np.searchsorted(keys, 4 * next_pixel + next_direction)


def _corners(keys: np.ndarray, width: int) -> np.ndarray:
    """Where each edge starts: (E, 2) x, y."""
    row, column = np.divmod(keys // 4, width)
    return np.stack([column + START_X[keys % 4], row + START_Y[keys % 4]], axis=1)


def _rings(order: list[int], following: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Chain edges into closed rings: the first edge and all edges of each, in the order of their first edges."""
    seen = bytearray(len(following))
    for start in order:
        if seen[start]:
            continue
        ring, edge = [], start
        while not seen[edge]:
            seen[edge] = 1
            ring.append(edge)
            edge = following[edge]
        yield start, ring
