"""A report as one HTML page that needs nothing else: pictures are within it, and it runs no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import partial
from typing import Any

from nucplan.report.costs import GROUPS, conditions_text, cost_rows
from nucplan.report.curve_plots import constant
from nucplan.report.ensemble import choice_title, ranked_options, with_fold_means
from nucplan.report.numbers import (
    counted,
    folds_text,
    interval_text,
    number_text,
    score_remarks,
    score_text,
    signed_text,
    total_text,
)
from nucplan.report.ranks import LEAST_DATASETS

PNG = b"\x89PNG"
# What the section on merges shows beside the primary scores.
CONTACT_SCORES = ("merges", "splits", "contact-boundary recall", "boundary F1 (pooled)")
# Decisions that the planner checks itself with, and that say nothing to a reader of results.
INTERNAL_DECISIONS = ("queries", "oracle_ceiling")


def render(report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Lay out what ``report.json`` holds.

    Parameters
    ----------
    report
        Plain numbers, as `trainers.report` collects them.
    pictures : mapping of name to PNG or SVG
        Those of `nucplan.report.plots.draw`, and the fingerprints and crops that the report names. One that is not
        there is left out.
    """
    # Imported on use: the numbers are read without it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nucplan.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number_text,
        "score": score_text,
        "total": total_text,
        "interval": interval_text,
        "conditions": conditions_text,
        "cost_rows": cost_rows,
        "counted": counted,
        "signed": signed_text,
        "folds_text": folds_text,
        "score_remarks": score_remarks,
        "breakable": _breakable,
        "ranked_options": ranked_options,
        "with_fold_means": with_fold_means,
        "anchor": lambda name: name.replace(" ", "_"),
    }
    environment.globals |= {
        "choice_title": choice_title,
        "constant_columns": constant,
        "cost_groups": GROUPS,
        "contact_scores": CONTACT_SCORES,
        "internal_decisions": INTERNAL_DECISIONS,
        "least_datasets": LEAST_DATASETS,
        "source": partial(_source, pictures),
    }
    return environment.get_template("report.html.j2").render(report=report)


def _breakable(name: str) -> str:
    """A name that a narrow column may break after each underscore."""
    from markupsafe import Markup, escape

    return escape(name).replace("_", Markup("_<wbr>"))


def _source(pictures: Mapping[str, bytes], name: str) -> str | None:
    """What an ``img`` takes as its source, or None where there is no such picture."""
    if name not in pictures:
        return None
    picture = pictures[name]
    kind = "png" if picture.startswith(PNG) else "svg+xml"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
