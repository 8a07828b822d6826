"""Which tensors of a weights file fill which parameters of an encoder, and what is over or missing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from nucplan.networks.encoders.base import Encoder

# What training code puts before all names.
WRAPPERS = re.compile(
    r"^(?:(?:module|model|backbone|encoder|image_encoder|vision_encoder|visual|trunk|vit|student|teacher)\.)+"
)

STUDENT = re.compile(r"^(?:(?:module|model)\.)*student\.")


@dataclass(frozen=True)
class Match:
    """The outcome, in the names of the file.

    Attributes
    ----------
    used
        Parameter of ``encoder.body`` -> what fills it, of the right shape.
    parts
        Tensors that parameters are made of, or would be if they fitted or their other parts were there; and those that
        tell how the encoder is built. With ``left_over`` and ``dispensable`` these are all that the file has.
    misshapen
        What should fill a parameter -> the shape that the file has and the shape that is needed.
    missing
        Tensors that the file should have and has not.
    left_over
        Tensors that the encoder has no place for.
    dispensable
        Tensors that may be left out: heads, mask tokens, a decoder, the student of a teacher.
    """

    used: Mapping[str, Tensor]
    parts: tuple[str, ...]
    misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    dispensable: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every parameter is filled and every tensor accounted for."""
        return bool(self.used) and not (self.misshapen or self.missing or self.left_over)

    def renamed(self) -> list[tuple[str, str]]:
        """Pairs of a missing and a left over name that are alike, the likeliest first for each."""
        pairs, free = [], list(self.left_over)
        for name in self.missing:
            alike = difflib.get_close_matches(name, free, 1, 0.75)
            if alike:
                pairs.append((name, alike[0]))
                free.remove(alike[0])
        return pairs


def match(encoder: Encoder, tensors: Mapping[str, Tensor]) -> Match:
    """Compare the tensors of a file, out of their containers, with the parameters of ``encoder.body``."""
    wanted = encoder.body.state_dict()
    found, sources = encoder.converted(tensors), encoder.sources(tensors, wanted)
    misshapen = {name for name, tensor in found.items() if tensor.shape != wanted[name].shape}
    named = dict.fromkeys(part for parts in sources.values() for part in parts)
    parts = {part for part in named if part in tensors} | encoder.consulted(tensors)
    rest = sorted(name for name in tensors if name not in parts)
    prefix = encoder.prefix(tensors)
    may_go = {name for name in rest if _of_a_student(name, prefix) or encoder.dispensable(_bare(name, prefix))}
    return Match(
        used={name: tensor for name, tensor in found.items() if name not in misshapen},
        parts=tuple(sorted(parts)),
        misshapen={
            " + ".join(sources[name]): (tuple(found[name].shape), tuple(wanted[name].shape))
            for name in found
            if name in misshapen
        },
        missing=tuple(part for part in named if part not in tensors),
        left_over=tuple(name for name in rest if name not in may_go),
        dispensable=tuple(name for name in rest if name in may_go),
    )


def _bare(name: str, prefix: str) -> str:
    """A name less what wraps it: a head beside ``module.backbone.`` is called ``module.head.``."""
    return WRAPPERS.sub("", name.removeprefix(prefix))


def _of_a_student(name: str, prefix: str) -> bool:
    """Whether a tensor is the student's in a file whose teacher is taken (DINOv2's training checkpoints)."""
    return "teacher." in prefix and STUDENT.match(name) is not None


def summarised(names: Iterable[str], most: int = 6) -> str:
    """Names for a sentence: where they are many, those that differ in numbers alone stand as one."""
    names = list(names)
    if len(names) > most:
        names = list(dict.fromkeys(re.sub(r"\.\d+(?=\.)", ".*", name) for name in names))
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
