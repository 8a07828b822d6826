"""Which classes of a source become classes of the dataset: kept, merged under a new name, or left out."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from nucplan.datasets.annotations.layers import counted
from nucplan.datasets.source import Annotated
from nucplan.errors import NucplanError

REST = "*"


@dataclass(frozen=True)
class ClassSelection:
    """What ``--classes`` says of the classes of one source.

    Attributes
    ----------
    names : class 1 to K of the dataset
    new_of : class of the source to class of the dataset; 0 where it is left out
    """

    names: tuple[str, ...]
    new_of: dict[int, int]
    source_names: tuple[str, ...]

    def apply(self, annotated: Annotated) -> Annotated:
        """``annotated`` with the classes of the dataset.

        Nuclei of a class that is left out become an area to ignore: a network must not learn that they are
        background.
        """
        class_of = {i: self.new_of[c] for i, c in annotated.class_of.items() if self.new_of[c]}
        dropped = [c for c in annotated.class_of.values() if not self.new_of[c]]
        if not dropped:
            return annotated._replace(class_of=class_of)
        instances = np.where(np.isin(annotated.instances, list(class_of)), annotated.instances, 0)
        now_ignored = (annotated.instances > 0) & (instances == 0)
        ignored = now_ignored if annotated.ignored is None else now_ignored | annotated.ignored
        reasons = counted(
            (f"of the class {name}, which --classes leaves out", dropped.count(c))
            for c, name in enumerate(self.source_names, start=1)
        )
        left_out = {**annotated.left_out, **reasons}
        return annotated._replace(instances=instances, class_of=class_of, ignored=ignored, left_out=left_out)


def select_classes(text: str | None, source_names: tuple[str, ...]) -> ClassSelection:
    """Read ``--classes``: ``a,b`` keeps two, ``new=a+b`` merges two, ``rest=*`` merges whatever is not named.

    Raises
    ------
    NucplanError
        If a class is unknown or named twice, or a name is missing; the message lists the classes of the source.
    """
    if text is None:
        kept = {i: i for i in range(1, len(source_names) + 1)}
        return ClassSelection(source_names, kept, source_names)
    names: list[str] = []
    claimed: dict[str, int] = {}
    for name, merged in _items(text, source_names):
        if name in ("", REST):
            raise NucplanError(f"--classes {text} lacks the name of a class; write it as a,b or new=a+b or rest=*.")
        names.append(name)
        for old in merged:
            if old not in (REST, *source_names):
                known = ", ".join(source_names)
                raise NucplanError(f"--classes {text}: the source has no class '{old}'; its classes are {known}.")
            if old in claimed:
                raise NucplanError(f"--classes {text} names the class '{old}' twice; keep one of them.")
            claimed[old] = len(names)
    new_of = {i: claimed.get(old, claimed.get(REST, 0)) for i, old in enumerate(source_names, start=1)}
    return ClassSelection(tuple(names), new_of, source_names)


def _items(text: str, source_names: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Each new class with the classes that it is made of.

    Names of the source are known before they are looked for, as those of markers hold signs of their own: ``CD3+``.
    """
    known = "|".join(map(re.escape, sorted(source_names, key=len, reverse=True)))
    word = re.compile(rf"\s*({known}|[^,+=]*?)\s*([,+=]|$)")
    items, separator, position = [], ",", 0
    while separator:
        found = word.match(text, position)
        if separator == ",":
            items.append((found[1], []))
        elif (separator == "=") == bool(items[-1][1]):
            raise NucplanError(
                f"--classes {text} cannot be read at '{found[1]}'; write it as a,b or new=a+b or rest=*."
            )
        else:
            items[-1][1].append(found[1])
        separator, position = found[2], found.end()
    return [(name, merged or [name]) for name, merged in items]
