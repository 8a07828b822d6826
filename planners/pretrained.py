"""An encoder that a user brings to planning: its weights, and for one of markers what it makes of the channels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.errors import NucplanError
from nucplan.markers.channels import ChannelMarkers, identify
from nucplan.markers.known import known_markers
from planners.variants import refuse_colours_on_markers

if TYPE_CHECKING:
    from torch import Tensor

    from nucplan.layout import Dataset
    from nucplan.networks.encoders.choice import EncoderChoice


@dataclass(frozen=True)
class EncoderRequest:
    """What a user asks for.

    Attributes
    ----------
    name : of the encoder (`nucplan.networks.encoders.registry`)
    weights : file with its pretrained weights
    marker_embeddings : folder or ``.npz`` of them, for an encoder of markers
    marker_table : rows above those of the package's table of markers
    break_contract : plan even where the encoder would see other images than it was trained on
    """

    name: str
    weights: Path
    marker_embeddings: Path | None = None
    marker_table: Path | None = None
    break_contract: bool = False


@dataclass(frozen=True)
class PretrainedEncoder:
    """What planning needs to know of it.

    Attributes
    ----------
    request : what was asked for
    taps : the four blocks that the decoder reads
    options : arguments of its family that the file tells; of an encoder of markers also the ``markers``
    mpp : microns per pixel of an encoder of markers, which resizes images to it; None for other encoders
    markers : which channels it sees; None for an encoder of colours
    embeddings : by accession
    choice : what the file tells of an encoder of colours
    """

    request: EncoderRequest
    taps: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    mpp: float | None = None
    markers: ChannelMarkers | None = None
    embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    choice: EncoderChoice | None = None

    @property
    def embeddings_file(self) -> str:
        """The name under which a dataset keeps the embeddings of its markers; it tells what is in them."""
        digest = hashlib.sha256()
        for accession, vector in sorted(self.embeddings.items()):
            digest.update(accession.encode() + vector.numpy().tobytes())
        return f"marker_embeddings_{digest.hexdigest()[:8]}.npz"

    def store_embeddings(self, dataset: Dataset) -> None:
        """Write them next to the plan, so that training needs no other file."""
        from nucplan.files import atomic_path
        from nucplan.markers.embeddings import write_embeddings

        if self.embeddings:
            with atomic_path(dataset.preprocessed / self.embeddings_file) as temporary:
                write_embeddings(temporary, self.embeddings)


def read_encoder(request: EncoderRequest, channels: int, panel: Sequence[str] | None) -> PretrainedEncoder:
    """Look at the files of a request, and try the weights on the network that they are for.

    Parameters
    ----------
    request
        Of the user.
    channels
        Of the images.
    panel
        The markers of multiplex images, one per channel; None for grey and RGB.

    Raises
    ------
    NucplanError
        If a file is missing, unreadable or of another encoder, or the images are of another kind.
    """
    from nucplan.networks.encoders.registry import find_card
    from nucplan.networks.weights_file import reading_once

    if find_card(request.name).family == "virtues":
        with reading_once():
            return _marker_encoder(request, panel)
    if request.marker_embeddings is not None or request.marker_table is not None:
        raise NucplanError(
            f"The encoder '{request.name}' does not look at markers; leave --marker-embeddings and --marker-table out."
        )
    if panel is not None:
        refuse_colours_on_markers(request.name)
    with reading_once():
        taps, choice = _tried(request, channels, {})
    return PretrainedEncoder(request, tuple(taps), choice=choice)


def _marker_encoder(request: EncoderRequest, panel: Sequence[str] | None) -> PretrainedEncoder:
    from nucplan.markers.embeddings import available, read_embeddings
    from nucplan.networks.encoders.marker_vit import TRAINED_MPP
    from nucplan.networks.encoders.virtues_keys import options_of
    from nucplan.networks.weights import read_state_dict

    if panel is None:
        raise NucplanError(
            f"The encoder '{request.name}' was trained on markers, not on the colours of H&E or a single grey channel; "
            "choose an encoder of pathology, such as uni."
        )
    if request.marker_embeddings is None:
        raise NucplanError(
            f"The encoder '{request.name}' knows markers by the embeddings of their proteins; give their folder or "
            ".npz with --marker-embeddings."
        )
    markers = identify(panel, known_markers(request.marker_table), available(request.marker_embeddings))
    if not any(markers.accessions):
        raise NucplanError(
            f"None of the channels ({', '.join(panel)}) has a marker embedding in {request.marker_embeddings}; add "
            "them, or name the channels with --marker-table."
        )
    embeddings = read_embeddings(request.marker_embeddings, [a for a in markers.accessions if a])
    options = options_of(read_state_dict(request.weights))
    length = len(next(iter(embeddings.values())))
    if length != options["marker_dim"]:
        raise NucplanError(
            f"{request.marker_embeddings} has embeddings of {length} numbers, {request.weights} was trained with "
            f"{options['marker_dim']}; give those of the same protein model."
        )
    options |= {"markers": list(markers.accessions)}
    taps, _ = _tried(request, len(panel), options)
    return PretrainedEncoder(request, tuple(taps), options, TRAINED_MPP, markers, embeddings)


def _tried(request: EncoderRequest, channels: int, options: Mapping[str, Any]) -> tuple[list[int], EncoderChoice]:
    """The encoder's taps and what the file tells, once it was found to fit; nothing takes memory but the file."""
    import torch

    from nucplan.networks.encoders.choice import choose_encoder
    from nucplan.networks.encoders.registry import build_encoder
    from nucplan.networks.weights import load_encoder_weights
    from nucplan.networks.weights_file import read_weights_file

    choice = choose_encoder(read_weights_file(request.weights), request.name, request.name)
    with torch.device("meta"):
        encoder = build_encoder(request.name, channels, frozen=True, layer_scale=choice.layer_scale, options=options)
    with warnings.catch_warnings():
        # torch says that nothing is copied, which is the point.
        warnings.simplefilter("ignore", UserWarning)
        load_encoder_weights(encoder, request.weights)
    return encoder.taps, choice
