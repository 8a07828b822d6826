"""Numbers in sentences for users."""

from __future__ import annotations

SINGULAR = {
    "cases": "case",
    "groups": "group",
    "images": "image",
    "nuclei": "nucleus",
    "outlines": "outline",
    "pixels": "pixel",
    "planes": "plane",
}


def number_of(count: int, things: str) -> str:
    """``1,200 nuclei of two classes``, but ``1 nucleus of two classes``; ``things`` begins with a plural."""
    first, space, rest = things.partition(" ")
    return f"{count:,} {SINGULAR.get(first, first) if count == 1 else first}{space}{rest}"
