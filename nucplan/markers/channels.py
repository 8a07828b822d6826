"""Which protein each channel of a dataset shows, as far as table and embeddings know."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nucplan.markers.known import KnownMarkers, Marker


@dataclass(frozen=True)
class ChannelMarkers:
    """The channels as an encoder of markers sees them.

    Attributes
    ----------
    accessions : one per channel, of an embedding; None where the encoder does not see the channel
    nuclear : whether a stain of all nuclei is among those that it sees
    notes : sentences on what is left out or replaced
    """

    accessions: tuple[str | None, ...]
    nuclear: bool
    notes: tuple[str, ...]


def identify(channels: Sequence[str], known: KnownMarkers, embedded: Collection[str]) -> ChannelMarkers:
    """Look up the names of ``channels``; ``embedded`` are the accessions that have an embedding."""
    accessions, notes, nuclear = [], [], False
    for channel in channels:
        marker = known.find(channel)
        accession, note = _accession(channel, marker, known, embedded)
        accessions.append(accession)
        notes += [note] if note else []
        nuclear = nuclear or (accession is not None and marker is not None and marker.role == "nuclear")
    return ChannelMarkers(tuple(accessions), nuclear, tuple(notes))


def _accession(
    channel: str, marker: Marker | None, known: KnownMarkers, embedded: Collection[str]
) -> tuple[str | None, str | None]:
    left_out = f"The encoder does not see the channel '{channel}'"
    if marker is None:
        near = known.near(channel)
        like = f" (like it: {', '.join(near)})" if near else ""
        return None, f"{left_out}: no known marker has this name{like}; rename it, or add it with --marker-table."
    if marker.uniprot is None:
        return None, f"{left_out}: {marker.name} stands for no protein."
    if marker.uniprot in embedded:
        return marker.uniprot, None
    canonical = marker.uniprot.partition("-")[0]
    if canonical in embedded:
        return (
            canonical,
            f"'{channel}' has the embedding of {canonical}; there is none of its isoform {marker.uniprot}.",
        )
    return None, f"{left_out}: there is no embedding of {marker.uniprot} ({marker.name}); add it."
