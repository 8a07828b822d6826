"""One colour per class, told apart by colour-blind readers and seen on both stained tissue and dark fields."""

from __future__ import annotations

# Okabe & Ito (2008), without black; ordered so that the first ones stand out from pink and purple tissue.
COLOURS = (
    (240, 228, 66),
    (86, 180, 233),
    (213, 94, 0),
    (0, 158, 115),
    (230, 159, 0),
    (204, 121, 167),
    (0, 114, 178),
)


def class_colour(class_id: int) -> tuple[int, int, int]:
    """RGB, 0 to 255, of class 1..K; each further round through the palette is darker."""
    turn, place = divmod(class_id - 1, len(COLOURS))
    red, green, blue = COLOURS[place]
    shade = 0.65**turn
    return round(red * shade), round(green * shade), round(blue * shade)
