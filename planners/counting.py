"""Count the memory that tensor operations take, on tensors with or without data."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Of what networks and losses here call: the functions that autocast runs in float32 on a GPU, but not on a CPU.
FLOAT32_ON_GPU = {
    functional.group_norm, functional.layer_norm, functional.softmax, torch.softmax, Tensor.softmax,
    functional.binary_cross_entropy_with_logits,
}  # fmt: skip


class ByteCounter(TorchDispatchMode):
    """Bytes of the tensors that live at the same time, and bytes that operations read and write.

    A storage counts from the operation that makes it until nothing refers to it any more; what autograd saved for the
    backward pass is referred to. While a convolution runs, the feature maps that it works on count twice, because
    oneDNN and cuDNN compute on copies in a blocked layout.

    Attributes
    ----------
    live
        Bytes alive now.
    peak
        The highest value of ``live`` since the last `restart`.
    moved
        Bytes read and written since the last `restart`; views move nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = self.moved = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def restart(self) -> None:
        """Forget peak and traffic; what is alive stays counted."""
        self.peak, self.moved = self.live, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._register(tensor.untyped_storage())
        self.peak = max(self.peak, self.live + _blocked_copies(func, args, result))
        if not func.is_view:
            self.moved += sum(tensor.nbytes for tensor in _tensors((args, kwargs, result)))
        return result

    def _register(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._known:
            self._known.add(storage)
            self.live += storage.nbytes()
            weakref.finalize(storage, self._release, storage.nbytes())

    def _release(self, size: int) -> None:
        self.live -= size


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for branch in tree:
            yield from _tensors(branch)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))


def _blocked_copies(func: Any, args: tuple, result: Any) -> int:
    """Bytes of the input and the output of a convolution, or of the input and the output's gradient."""
    if func is torch.ops.aten.convolution.default:
        return args[0].nbytes + result.nbytes
    if func is torch.ops.aten.convolution_backward.default:
        return args[0].nbytes + args[1].nbytes
    return 0


class _Float32OnGpu(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in FLOAT32_ON_GPU:
            args = tuple(_float32(value) for value in args)
            kwargs = {name: _float32(value) for name, value in (kwargs or {}).items()}
        return func(*args, **(kwargs or {}))


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


@contextmanager
def autocast_as_on_gpu(on: bool) -> Iterator[None]:
    """With ``on``, tensors on the CPU get the types that ``torch.autocast("cuda")`` gives them on a GPU.

    Without a GPU, torch runs no backward pass of CUDA tensors, not even of tensors without data.
    """
    if not on:
        yield
        return
    with torch.autocast("cpu", torch.float16), _Float32OnGpu():
        yield
