"""Boundary supervision and attention: kernels, weight, scales and strengths, all from size and crowding.

The formulas follow from two conditions: a boundary that is thin against the small nuclei, and a weight that grows
where nuclei touch without becoming a plain foreground weight. Half widths are planned pixels; a kernel is
``2 * half width + 1``.
"""

from __future__ import annotations

import math

from planners.fingerprint import Fingerprint
from planners.rules.decision import Decision, rounded

THINNEST, THICKEST, WIDEST_BAND = 1, 3, 6
STRIDES, MOST_HEADS = (1, 2, 4, 8, 16), 3
BOUNDARY_SHARE, BAND_SHARE = 0.06, 0.15  # half widths as shares of the small nuclei (d25)
# Weight per share of touching nuclei: twice where all of them touch.
BETA_PER_CONTACT = 2.0
# Share of the weight that the band may carry; beyond it, W would be a foreground weight.
LARGEST_MASS = 0.65


def boundary_kernel(statistics: Fingerprint, upsampling: int) -> Decision:
    """Side k of the square that draws the boundary target: 6 % of the small nuclei to each side of the outline.

    One pixel where thicker would leave less than two pixels inside the smallest nuclei (d5). The k = 3 of the
    specification is the value for nuclei of 9 to 24 px.
    """
    d25, d5 = statistics.diameter(25) * upsampling, statistics.diameter(5) * upsampling
    wanted = rounded(BOUNDARY_SHARE * d25)
    half = min(max(wanted, THINNEST), THICKEST)
    limit = None if half == wanted else f"a boundary reaches {THINNEST} to {THICKEST} px to each side"
    because = f"{half} px to each side of the outline are about {BOUNDARY_SHARE:.0%} of the small nuclei, {d25:.1f} px."
    if half > max(THINNEST, (d5 - 2) / 4):
        half, limit = THINNEST, "the smallest nuclei keep an interior"
        because = f"The smallest nuclei, {d5:.1f} px, would lose their interior to more than {half} px to each side."
    return Decision(2 * half + 1, because, {"planned_d25_px": d25, "planned_d5_px": d5}, limit)


def weight_kernel(statistics: Fingerprint, upsampling: int, kernel: int) -> Decision:
    """Side k_w of the square that widens the boundary to the weight band: 15 % of the small nuclei to each side.

    Both together, ``(k - 1) / 2 + (k_w - 1) / 2`` px, are the half width of the band; k_w = 1 is the boundary itself.
    """
    d25, inner = statistics.diameter(25) * upsampling, kernel // 2
    wanted = rounded(BAND_SHARE * d25)
    half = min(max(wanted, inner), WIDEST_BAND)
    share = statistics.band(half / upsampling)
    because = (
        f"With it the band reaches {half} px to each side of the outline, about {BAND_SHARE:.0%} of the small nuclei, "
        f"{d25:.1f} px, and covers {share:.0%} of the image."
    )
    limit = None if half == wanted else f"the band reaches {inner} to {WIDEST_BAND} px to each side"
    inputs = {"planned_d25_px": d25, "boundary_half_width_px": inner, "band_share": share}
    return Decision(2 * (half - inner) + 1, because, inputs, limit)


def band_half_width(statistics: Fingerprint, upsampling: int) -> float:
    """Half width in planned px that the weight band should have, between whole pixels."""
    return min(max(BAND_SHARE * statistics.diameter(25) * upsampling, THINNEST), WIDEST_BAND)


def boundary_beta(statistics: Fingerprint, upsampling: int, half_width: float) -> Decision:
    """Weight beta of the band in ``W = 1 + beta * band``: ``2 T``, less where the band is much of the image.

    T is the share of touching nuclei and phi the share of the band; the band's share of all weight,
    ``(1 + beta) phi / (1 + beta phi)``, stays under 0.65. The specification has 2 to 4 for all data: measured, that
    is too much where few nuclei touch, because most of the band then lies along outlines that part nothing, and what
    it takes from the inside of nuclei comes back as splits (docs/planning.md). ``half_width`` is that of the band in
    planned px. It comes from `band_half_width`, not from the whole pixels of the kernels, so that beta depends neither
    on the scale nor on how a half width happens to round; where a user set a kernel, it comes from that.
    """
    touching, phi = statistics.touching_share, statistics.band(half_width / upsampling)
    inputs = {"touching_share": touching, "band_share": phi}
    if touching is None:
        return Decision(0.0, "No image has two nuclei, so there are no contacts to weigh more.", inputs)
    crowding = BETA_PER_CONTACT * touching
    cap = max(0.0, (LARGEST_MASS - phi) / ((1 - LARGEST_MASS) * phi)) if phi > 1e-6 else math.inf
    because, limit = f"{touching:.0%} of the nuclei touch another one, which asks for {crowding:.2f}", None
    if cap < crowding:
        limit = "mass of the band"
        because += f", but the band is {phi:.0%} of the image, and over {cap:.2f} it would have most of W"
    known_cap = cap if math.isfinite(cap) else None
    return Decision(
        round(min(crowding, cap), 2), because + ".", inputs | {"crowding": crowding, "mass_cap": known_cap}, limit
    )


def boundary_scales(statistics: Fingerprint, upsampling: int) -> Decision:
    """Decoder strides with a boundary head, and their weights 1, 0.5, 0.25 from the finest to the coarsest.

    The coarsest stride of which two cells fit into a small nucleus (d25), and up to two finer ones. A boundary of
    ``2 h`` planned pixels is then never thinner than a cell of the finest head.
    """
    d25 = statistics.diameter(25) * upsampling
    chosen = [stride for stride in STRIDES if d25 / stride >= 2][-MOST_HEADS:] or [STRIDES[0]]
    because = f"Two cells of stride {chosen[-1]} fit into the small nuclei, {d25:.1f} px; finer heads weigh more."
    limit = "coarsest stride of the decoder" if d25 >= 4 * STRIDES[-1] else None
    value = {str(stride): 0.5**k for k, stride in enumerate(chosen)}
    return Decision(value, because, {"planned_d25_px": d25, "strides": list(STRIDES)}, limit)


def boundary_pos_weight(statistics: Fingerprint, upsampling: int, kernel: int) -> Decision:
    """Weight of boundary pixels in the boundary's cross-entropy: ``sqrt((1 - phi) / phi)``, at most 10.

    The whole ratio would thicken the boundary, because the Dice term counters the imbalance as well.
    """
    phi = statistics.band(kernel // 2 / upsampling)
    wanted = math.sqrt((1 - phi) / phi) if phi > 0 else 10.0
    because = f"Boundary pixels are {phi:.1%} of the image; the square root of the imbalance is {min(wanted, 99):.1f}."
    return Decision(round(min(wanted, 10.0), 2), because, {"boundary_share": phi}, "10" if wanted > 10 else None)


def boundary_loss_weight() -> Decision:
    """Weight of all boundary terms in the total loss: the middle of the 0.1 to 0.3 that were specified."""
    return Decision(0.2, "The middle of 0.1 to 0.3; no property of a dataset is known that would move it.")


def boundary_weight_normalised() -> Decision:
    """Whether the weighted cross-entropy is divided by the sum of W; divided by the pixels it is the literal form."""
    return Decision(True, "Without it, W would also raise the loss, and with it the length of the first steps.")


def gate() -> Decision:
    """Boundary attention ``1 + alpha * P``: final strength, and the shares of the training between which it rises."""
    because = "A boundary that is certain doubles its features; the gate opens once the boundary heads have learned."
    return Decision({"alpha": 1.0, "start": 0.1, "full": 0.3}, because)
