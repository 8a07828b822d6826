"""What a licence means for the person who converts the data."""

from __future__ import annotations

import re

_NON_COMMERCIAL = re.compile(
    r"\bNC\b|\bno[nt][-\s]?(for )?commercial"
    r"|(research|academic)( use| purposes?)? only"
    r"|only for (research|academic)|for ((academic|research) )+(use|purpose)",
    re.IGNORECASE,
)


def licence_notice(licence: str | None) -> str:
    """One sentence for the user: what the images are under, said aloud where it is not for commerce."""
    if not licence:
        return "Licence: the source names none; ask whoever made the images before you pass them or a model on."
    if _NON_COMMERCIAL.search(licence):
        return f"Licence: {licence}. NOT FOR COMMERCIAL USE: the images, and it may be what is trained on them."
    return f"Licence: {licence}."
