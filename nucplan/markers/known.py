"""The table of known markers: a channel's name, in any of its spellings, to protein and place in the cell.

``table.csv`` beside this file has the columns ``name``, ``uniprot``, ``role`` and ``aliases`` (separated by ``|``);
users add rows with a table of their own. A carbohydrate stands with the enzyme that makes it or without a protein, a
pan antibody with one of its proteins. Stains of DNA stand for histone H3 (P68431), as in the training data of VirTues:
otherwise its encoder would never see the nuclei.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import takewhile
from pathlib import Path

from nucplan.errors import NucplanError

TABLE = Path(__file__).with_name("table.csv")
COLUMNS = ("name", "uniprot", "role", "aliases")
# "nuclear" is in every nucleus, "nuclear_subset" in those of some cells; "background" is no stain at all.
ROLES = ("nuclear", "nuclear_subset", "membrane", "cytoplasm", "matrix", "other", "background")
# UniProt's own pattern of accessions, and the number of an isoform.
ACCESSION = re.compile(r"([OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d([A-Z][A-Z\d]{2}\d){1,2})(-\d+)?")
LETTERS = {"α": "a", "β": "b", "γ": "g", "δ": "d", "ε": "e", "κ": "k", "alpha": "a", "beta": "b", "gamma": "g"}
# Isotopes of mass cytometry (Er170, 170Er, Ir191Di), fluorophores, cycles and counters, and clones (E1L3N, EPR3093).
ISOTOPE = re.compile(r"([A-Z][a-z]\d{2,3}|\d{2,3}[A-Z][a-z])(Di|Dd)?")
FLUOROPHORE = re.compile(r"(?i)(fitc|pe|apc|percp|tritc|cy\d(\.5)?|af\d{1,3}|alexa\d*|opal\d*|bv\d{3}|atto\d*|\d{3}nm)")
COUNTER = re.compile(r"(?i)(\d{1,4}|c|ch\d*|cycle\d*|cyc\d*|r\d+|round\d*)")
ANTIBODY = re.compile(r"(?i)anti")
LEADING = (ISOTOPE, FLUOROPHORE, COUNTER, ANTIBODY)
# An isotope as imctools writes it: Ir(191).
BRACKETED = re.compile(r"\b([A-Z][a-z])\((\d{2,3})\)")
CLONE = re.compile(r"(?i)(?!cd\d)(?=.*\d)(?=.*[a-z])[a-z\d]{4,}")


@dataclass(frozen=True)
class Marker:
    """What a channel shows.

    Attributes
    ----------
    name : its usual name
    uniprot : accession of its protein, an isoform as ``P08575-8``; None where there is no one protein
    role : one of `ROLES`
    """

    name: str
    uniprot: str | None
    role: str


class KnownMarkers:
    """Markers by every spelling of their names.

    Parameters
    ----------
    rows
        Spelling as written -> marker; of equal spellings the last counts.
    """

    def __init__(self, rows: Mapping[str, Marker]) -> None:
        self._by_key = {spelling_key(written): marker for written, marker in rows.items()}
        self._written = {spelling_key(written): written for written in rows}

    def find(self, name: str) -> Marker | None:
        """The marker of a channel's name, or None; clones, isotopes, fluorophores and cycles in it are passed over.

        A bare UniProt accession is a marker of its own.
        """
        for key in _candidates(name):
            if key in self._by_key:
                return self._by_key[key]
        if ACCESSION.fullmatch(name.strip()):
            return Marker(name.strip(), name.strip(), "other")
        return None

    def near(self, name: str) -> list[str]:
        """Up to three known names that are like this one, best first."""
        return [self._written[key] for key in get_close_matches(spelling_key(name), self._by_key, n=3, cutoff=0.6)]


@cache
def known_markers(extra: Path | None = None) -> KnownMarkers:
    """The package's table, and a user's rows above it.

    Raises
    ------
    NucplanError
        If the user's table is missing, is no UTF-8 text, lacks columns, or has a row with a wrong accession or role.
    """
    rows = dict(_rows(TABLE))
    return KnownMarkers(rows if extra is None else rows | dict(_rows(extra)))


def spelling_key(name: str) -> str:
    """What all spellings of a name share: lower case, Greek letters as Latin ones, letters and digits alone.

    A dot stays between two numbers, as CD3_2 is not CD32.
    """
    text = name.casefold()
    for written, letter in LETTERS.items():
        text = text.replace(written, letter)
    parts = re.split(r"(?<=\d)[^a-z0-9]+(?=\d)", text)
    return ".".join(re.sub(r"[^a-z0-9]", "", part) for part in parts)


def _candidates(name: str) -> Iterator[str]:
    """Keys to look for: of the whole name first, then of what is left when its ends are no part of the marker."""
    name = BRACKETED.sub(r"\1\2", name)
    words = [word for word in re.split(r"[\s_\-:;,.()\[\]/|]+", name) if word]
    yield spelling_key(name)
    first = sum(1 for _ in takewhile(lambda word: _is_label(word, LEADING), words))
    last = sum(1 for _ in takewhile(lambda word: _is_label(word, (*LEADING, CLONE)), reversed(words)))
    cuts = [(i, j) for i in range(first + 1) for j in range(last + 1) if 0 < i + j < len(words)]
    for i, j in sorted(cuts, key=sum):
        yield spelling_key(" ".join(words[i : len(words) - j]))


def _is_label(word: str, forms: Sequence[re.Pattern[str]]) -> bool:
    return any(form.fullmatch(word) for form in forms)


def _rows(path: Path) -> Iterator[tuple[str, Marker]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            if missing := [column for column in COLUMNS[:2] if column not in (reader.fieldnames or ())]:
                raise NucplanError(f"{path} lacks the column {missing[0]}; give a table with {', '.join(COLUMNS)}.")
            for number, row in enumerate(reader, start=2):
                yield from _spellings(row, f"{path}, row {number}")
    except OSError:
        raise NucplanError(f"The marker table {path} cannot be read; check the path.") from None
    except UnicodeDecodeError as error:
        raise NucplanError(f"{path} is not UTF-8 text ({error.reason}); save it again as UTF-8.") from None


def _spellings(row: Mapping[str, str | None], place: str) -> Iterator[tuple[str, Marker]]:
    name, uniprot, role, aliases = ((row.get(column) or "").strip() for column in COLUMNS)
    if not spelling_key(name):
        raise NucplanError(f"{place} has no name; give the marker one.")
    if uniprot and not ACCESSION.fullmatch(uniprot):
        raise NucplanError(f"{place} has the UniProt accession '{uniprot}', which is none; correct or empty it.")
    if role and role not in ROLES:
        raise NucplanError(f"{place} has the role '{role}'; give one of {', '.join(ROLES)}.")
    marker = Marker(name, uniprot or None, role or "other")
    yield from ((written, marker) for written in [name, *filter(None, aliases.split("|"))])
