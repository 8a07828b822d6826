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


@dataclass(frozen=True)
class Match:
    """The outcome, in the names of the file.

    Attributes
    ----------
    used
        Parameter of ``encoder.body`` -> what fills it, of the right shape.
    misshapen
        Parameter -> the shape that the file has and the shape that is needed.
    missing
        Tensors that the file should have and has not.
    left_over
        Tensors that the encoder has no place for.
    dispensable
        Tensors that may be left out: heads, mask tokens, a decoder.
    """

    used: Mapping[str, Tensor]
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
    found = encoder.converted(tensors)
    fitting = {name: found[name] for name in wanted if name in found}
    misshapen = {
        name: (tuple(tensor.shape), tuple(wanted[name].shape))
        for name, tensor in fitting.items()
        if tensor.shape != wanted[name].shape
    }
    unfilled = encoder.sources(tensors, [name for name in wanted if name not in found])
    sources = [part for parts in unfilled.values() for part in parts]
    # Queries without their keys fill nothing, and are not what is wrong.
    bare = {name: _bare(name) for name in found}
    rest = [name for name in found if name not in wanted and _in_file(name, tensors) not in sources]
    return Match(
        used={name: tensor for name, tensor in fitting.items() if name not in misshapen},
        misshapen=misshapen,
        missing=tuple(part for part in sources if part not in tensors),
        left_over=tuple(sorted(_in_file(name, tensors) for name in rest if not encoder.dispensable(bare[name]))),
        dispensable=tuple(sorted(_in_file(name, tensors) for name in rest if encoder.dispensable(bare[name]))),
    )


def _in_file(name: str, tensors: Mapping[str, Tensor]) -> str:
    """The name with the prefix that the file has for it."""
    return name if name in tensors else next((own for own in tensors if own.endswith(name)), name)


def _bare(name: str) -> str:
    """A name less what wraps it: a head beside ``module.backbone.`` is called ``module.head.``."""
    return WRAPPERS.sub("", name)


def summarised(names: Iterable[str], most: int = 6) -> str:
    """Names for a sentence: where they are many, those that differ in numbers alone stand as one."""
    names = list(names)
    if len(names) > most:
        names = list(dict.fromkeys(re.sub(r"\.\d+(?=\.)", ".*", name) for name in names))
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
