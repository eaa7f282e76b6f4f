"""A step of AdamW or Muon over many fp32 tensors as one call of `optimizers.c`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from operator import is_

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from models.native.library import kernels


class Tensors:
    """Lists of tensors, equally long, as C takes them: their addresses are looked up once."""

    def __init__(self, *lists: Sequence[Tensor]) -> None:
        self.lists = lists
        self.places = [_places(tensors) for tensors in lists]
        self.addresses = [(ctypes.c_void_p * len(places))(*places) for places in self.places]

    def are(self, *lists: Sequence[Tensor]) -> bool:
        """Whether these are the same tensors, still where they were."""
        return all(
            len(mine) == len(other) and all(map(is_, mine, other)) and places == _places(other)
            for mine, other, places in zip(self.lists, lists, self.places, strict=True)
        )


def bound(known: Tensors | None, parameters: Sequence[Tensor], *states: Sequence[Tensor]) -> Tensors | None:
    """Parameters, their gradients and their states, for the steps below: `known`, where that is of these tensors.

    None where the steps can't be taken: they need fp32 on a CPU, whole rows, one thread and a C compiler.
    """
    if torch.get_num_threads() != 1:
        return None
    gradients = [p.grad for p in parameters if p.grad is not None]
    if known is not None and known.are(parameters, gradients, *states):
        return known
    whole = len(gradients) == len(parameters) and all(map(_whole, (*parameters, *gradients)))
    return Tensors(parameters, gradients, *states) if whole and kernels("fp32") is not None else None


def adamw_step(
    tensors: Tensors, *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
) -> None:
    """AdamW's update in place. The states are torch's, in its order: exp_avg, exp_avg_sq, and step, counted up."""
    parameters = tensors.lists[0]
    _library().adamw_step(
        *(ctypes.c_int64(len(parameters)), *tensors.addresses, _counts([p.numel() for p in parameters])),
        *map(ctypes.c_double, (lr, *betas, eps, weight_decay)),
    )


def muon_step(
    tensors: Tensors,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
    coefficients: tuple[float, float, float],
    ns_steps: int,
    eps: float,
) -> None:
    """Muon's update of matrices in place, whose states are their momenta.

    Each is orthogonalised in fp32, by products of its own Gram matrix.
    """
    library, shapes = _library(), [p.shape for p in tensors.lists[0]]
    if not shapes:
        return
    scratch = torch.empty(max(library.muon_scratch(*map(ctypes.c_int64, shape)) for shape in set(shapes)))
    library.muon_step(
        *(ctypes.c_int64(len(shapes)), *tensors.addresses, *map(_counts, zip(*shapes, strict=True))),
        *map(ctypes.c_double, (lr, momentum, weight_decay)),
        ctypes.c_int64(nesterov),
        *map(ctypes.c_double, coefficients),
        *(ctypes.c_int64(ns_steps), ctypes.c_double(eps), ctypes.c_void_p(scratch.data_ptr())),
    )


def _library() -> ctypes.CDLL:
    library = kernels("fp32")
    assert library is not None, "bound() comes first"
    return library


def _whole(tensor: Tensor) -> bool:
    plain = not isinstance(tensor, DTensor)  # of which a rank has but a share
    return plain and tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()


def _places(tensors: Sequence[Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _counts(counts: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(counts))(*counts)
