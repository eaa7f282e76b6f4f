"""A step of AdamW or Muon over many fp32 tensors as one call of `optimizers.c`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from models.native.library import kernels


def applies(parameters: Sequence[Tensor]) -> bool:
    """Whether the steps below can be taken: parameters and gradients whole in fp32 on a CPU, one thread, a compiler."""
    return (
        all(_whole(p) and p.grad is not None and _whole(p.grad) for p in parameters)
        and torch.get_num_threads() == 1
        and kernels("fp32") is not None
    )


def adamw_step(
    parameters: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    steps: Sequence[Tensor],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """AdamW's update in place, with its state as `torch.optim.AdamW` keeps it: `steps` are fp32 scalars, counted up."""
    library = kernels("fp32")
    assert library is not None, "applies() comes first"
    library.adamw_step(
        ctypes.c_int64(len(parameters)),
        *(_addresses(parameters), _gradients(parameters), _addresses(means), _addresses(squares)),
        *(_addresses(steps), _counts([p.numel() for p in parameters])),
        *map(ctypes.c_double, (lr, *betas, eps, weight_decay)),
    )


def muon_step(
    parameters: Sequence[Tensor],
    momenta: Sequence[Tensor],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
    coefficients: tuple[float, float, float],
    ns_steps: int,
    eps: float,
) -> None:
    """Muon's update of matrices in place. Each is orthogonalised in fp32 by products with its own Gram matrix."""
    library = kernels("fp32")
    assert library is not None, "applies() comes first"
    rows, columns = zip(*(p.shape for p in parameters), strict=True)
    floats = max(
        library.muon_scratch(*map(ctypes.c_int64, shape)) for shape in set(zip(rows, columns, strict=True))
    )
    scratch = torch.empty(floats)
    library.muon_step(
        ctypes.c_int64(len(parameters)),
        *(
            _addresses(parameters),
            _gradients(parameters),
            _addresses(momenta),
            _counts(rows),
            _counts(columns),
        ),
        *map(ctypes.c_double, (lr, momentum, weight_decay)),
        ctypes.c_int64(nesterov),
        *map(ctypes.c_double, coefficients),
        *(ctypes.c_int64(ns_steps), ctypes.c_double(eps), ctypes.c_void_p(scratch.data_ptr())),
    )


def _whole(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


def _gradients(parameters: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return _addresses([p.grad for p in parameters if p.grad is not None])


def _counts(counts: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(counts))(*counts)
