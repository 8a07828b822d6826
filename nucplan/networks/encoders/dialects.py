"""How weights files name the tensors of a ViT, and where each of timm's names stands in a given file.

Read from the file to timm: what a parameter is filled from is looked up by rules, so that a parameter that is missing
and a tensor that is left over are both known by the names that the file has for them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Rules = tuple[tuple[str, tuple[str, ...]], ...]

BLOCK = re.compile(r"^(.*?)(?:blocks|encoder\.layer|layers)\.\d+\.")
# DINOv2 trains its blocks in chunks; the second number counts over all of them.
CHUNKED = re.compile(r"^blocks\.\d+\.(\d+)\.")

_HF_LAYER = r"encoder.layer.\1."
_HF_ATTENTION: Rules = (
    (r"cls_token", ("embeddings.cls_token",)),
    (r"pos_embed", ("embeddings.position_embeddings",)),
    (r"reg_token", ("embeddings.register_tokens",)),
    (r"patch_embed\.proj\.(\w+)", (r"embeddings.patch_embeddings.projection.\1",)),
    (
        r"blocks\.(\d+)\.attn\.qkv\.(\w+)",
        tuple(rf"{_HF_LAYER}attention.attention.{part}.\2" for part in ("query", "key", "value")),
    ),
    (r"blocks\.(\d+)\.attn\.proj\.(\w+)", (_HF_LAYER + r"attention.output.dense.\2",)),
    (r"norm\.(\w+)", (r"layernorm.\1",)),
)
_HF_SWIGLU: Rules = (
    (r"blocks\.(\d+)\.mlp\.fc1\.(\w+)", (_HF_LAYER + r"mlp.weights_in.\2",)),
    (r"blocks\.(\d+)\.mlp\.fc2\.(\w+)", (_HF_LAYER + r"mlp.weights_out.\2",)),
)
_DINOV2_SWIGLU: Rules = (
    (r"blocks\.(\d+)\.mlp\.fc1\.(\w+)", (r"blocks.\1.mlp.w12.\2",)),
    (r"blocks\.(\d+)\.mlp\.fc2\.(\w+)", (r"blocks.\1.mlp.w3.\2",)),
)
RULES: Mapping[str, Rules] = {
    "timm": (),
    # DINOv2 by Meta (Oquab et al. 2023) and what is trained with its code.
    "dinov2": ((r"reg_token", ("register_tokens",)),),
    "dinov2 swiglu": ((r"reg_token", ("register_tokens",)), *_DINOV2_SWIGLU),
    # transformers' ViTModel (Phikon).
    "hf-vit": (
        *_HF_ATTENTION,
        (r"blocks\.(\d+)\.norm1\.(\w+)", (_HF_LAYER + r"layernorm_before.\2",)),
        (r"blocks\.(\d+)\.norm2\.(\w+)", (_HF_LAYER + r"layernorm_after.\2",)),
        (r"blocks\.(\d+)\.mlp\.fc1\.(\w+)", (_HF_LAYER + r"intermediate.dense.\2",)),
        (r"blocks\.(\d+)\.mlp\.fc2\.(\w+)", (_HF_LAYER + r"output.dense.\2",)),
    ),
    # transformers' Dinov2Model (Phikon-v2), with or without registers.
    "hf-dinov2": (
        *_HF_ATTENTION,
        (r"blocks\.(\d+)\.ls([12])\.gamma", (_HF_LAYER + r"layer_scale\2.lambda1",)),
        (r"blocks\.(\d+)\.(norm[12]|mlp)\.([\w.]+)", (_HF_LAYER + r"\2.\3",)),
    ),
    # Segment Anything (Kirillov et al. 2023) and CellViT's copy of its encoder.
    "sam": ((r"blocks\.(\d+)\.mlp\.fc([12])\.(\w+)", (r"blocks.\1.mlp.lin\2.\3",)),),
    # transformers' SamModel.
    "hf-sam": (
        (r"patch_embed\.proj\.(\w+)", (r"patch_embed.projection.\1",)),
        (r"blocks\.(\d+)\.norm([12])\.(\w+)", (r"layers.\1.layer_norm\2.\3",)),
        (r"blocks\.(\d+)\.mlp\.fc([12])\.(\w+)", (r"layers.\1.mlp.lin\2.\3",)),
        (r"blocks\.(\d+)\.([\w.]+)", (r"layers.\1.\2",)),
        (r"neck\.0\.(\w+)", (r"neck.conv1.\1",)),
        (r"neck\.1\.(\w+)", (r"neck.layer_norm1.\1",)),
        (r"neck\.2\.(\w+)", (r"neck.conv2.\1",)),
        (r"neck\.3\.(\w+)", (r"neck.layer_norm2.\1",)),
    ),
}
RULES = {**RULES, "hf-dinov2 swiglu": (*_HF_SWIGLU, *RULES["hf-dinov2"])}


@dataclass(frozen=True)
class Dialect:
    """The names of one file.

    Attributes
    ----------
    name
        Key of `RULES`.
    prefix
        What stands before the encoder's names: ``image_encoder.``, ``module.backbone.``; often nothing.
    files_names
        A name without prefix and chunk -> the name in the file.
    """

    name: str
    prefix: str
    files_names: Mapping[str, str]

    def sources(self, timm_name: str) -> tuple[str, ...]:
        """The names under which the file has what fills a parameter of timm's; more than one are stacked."""
        for pattern, templates in RULES[self.name]:
            match = re.fullmatch(pattern, timm_name)
            if match:
                return tuple(self._in_file(match.expand(template)) for template in templates)
        return (self._in_file(timm_name),)

    def _in_file(self, name: str) -> str:
        if name in self.files_names:
            return self.files_names[name]
        # A tensor that is missing would stand beside the others of its block, in whatever chunk that is.
        block = BLOCK.match(name)
        start = block[0] if block else ""
        for bare, own in self.files_names.items():
            if start and bare.startswith(start):
                return own.removesuffix(bare.removeprefix(start)) + name.removeprefix(start)
        return self.prefix + name

    def gathered(self, tensors: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
        """Of ``wanted``, timm's names, the tensors whose every part is there."""
        sources = {name: self.sources(name) for name in wanted}
        return {
            name: tensors[parts[0]] if len(parts) == 1 else torch.cat([tensors[part] for part in parts])
            for name, parts in sources.items()
            if all(part in tensors for part in parts)
        }


def dialect_of(names: Iterable[str]) -> Dialect:
    """The dialect that a file's names are in; timm's own if they show no other."""
    names = list(names)
    prefix = _prefix(names)
    inside = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    chunked = {CHUNKED.sub(r"blocks.\1.", bare): name for bare, name in inside.items()}
    return Dialect(_kind(chunked), prefix, chunked)


def _prefix(names: list[str]) -> str:
    """What stands before most names of blocks; a teacher is preferred to its student."""
    found = Counter(match[1] for name in names if (match := BLOCK.match(name)))
    return max(found, key=lambda prefix: (found[prefix], "teacher" in prefix), default="")


def _kind(names: Iterable[str]) -> str:
    text = "\n".join(names)
    swiglu = " swiglu" if re.search(r"\.mlp\.(w12|w3|weights_in|weights_out)\.", text) else ""
    if re.search(r"\.attention\.attention\.|^embeddings\.", text, re.MULTILINE):
        return "hf-vit" if "layernorm_before" in text else f"hf-dinov2{swiglu}"
    if ".mlp.lin1." in text or ".mlp.lin2." in text:
        return "hf-sam" if "layers.0.layer_norm1" in text else "sam"
    # DINOv2 without registers has timm's names.
    return f"dinov2{swiglu}" if swiglu or "register_tokens" in text.split("\n") else "timm"


def without_class_position(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DINOv2's position table has an entry for the class token; timm's models with registers have it in the token."""
    token, table = tensors["cls_token"], tensors["pos_embed"]
    return {**tensors, "cls_token": token + table[:, :1], "pos_embed": table[:, 1:]}
