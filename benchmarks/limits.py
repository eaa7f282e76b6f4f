"""What a step would take if it were nothing but its matrix products and its attention, each alone in a loop."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from models.factory import build_model
from models.native.llama import NativeLlama, applies
from scaling_runs.spec import CellSpec

LOOP_S = 0.1
"""Seconds of one loop, or the time of three calls."""


def shape_limit_s(spec: CellSpec) -> float:
    """Seconds of a step's products and attention, forward and backward, in the precision of the cell."""
    return _products_s(spec) + min(_attention_s(spec), _native_attention_s(spec))


def _products_s(spec: CellSpec) -> float:
    """Each layer's and the head's: outputs, inputs' gradients, weights' gradients."""
    return sum(times * _product_s(spec, inner, outer) for (inner, outer), times in products_of(spec).items())


def products_of(spec: CellSpec) -> dict[tuple[int, int], int]:
    """(inner, outer) sides of a step's products, and how often each comes."""
    shape = spec.shape
    return {
        (shape.width, 3 * shape.width): shape.depth,
        (shape.width, shape.width): shape.depth,
        (shape.width, 2 * shape.mlp_width): shape.depth,
        (shape.mlp_width, shape.width): shape.depth,
        (shape.width, shape.vocab_size): 1,
    }


def _product_s(spec: CellSpec, inner: int, outer: int) -> float:
    x, weight, dy = operands(spec, inner, outer)
    y, dx, dw = torch.empty_like(dy), torch.empty_like(x), torch.empty_like(weight)
    return (
        seconds(lambda: torch.mm(x, weight.T, out=y))
        + seconds(lambda: torch.mm(dy, weight, out=dx))
        + seconds(lambda: torch.mm(dy.T, x, out=dw))
    )


def operands(spec: CellSpec, inner: int, outer: int, *stack: int) -> tuple[torch.Tensor, ...]:
    """Inputs (…, T, inner), weights (…, outer, inner) and outputs' gradients (…, T, outer) of one product."""
    tokens, dtype = spec.batch_tokens, dtype_of(spec)
    sizes = (tokens, inner), (outer, inner), (tokens, outer)
    return tuple(torch.randn(*stack, *size, dtype=dtype) for size in sizes)


def _attention_s(spec: CellSpec) -> float:
    """All layers' scores, softmax, values and the way back: torch's own, by whichever way it finds faster."""
    shape = spec.shape
    sizes = (spec.recipe.batch_size, shape.heads, spec.seq_len, shape.head_width)
    q, k, v = (torch.randn(sizes, dtype=dtype_of(spec), requires_grad=True) for _ in range(3))
    dy = torch.randn(sizes, dtype=dtype_of(spec))

    def both() -> None:
        torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), dy)

    return shape.depth * seconds(both)


def _native_attention_s(spec: CellSpec) -> float:
    """The same by this project's kernels, which rotate queries and keys too."""
    model = build_model(spec.shape, seq_len=spec.seq_len, seed=0, init_std=spec.recipe.init_std)
    if not applies(model, spec.seq_len, spec.precision):
        return float("inf")
    native = NativeLlama(model, spec.seq_len, spec.precision)
    windows = torch.randint(spec.shape.vocab_size, (spec.recipe.batch_size, spec.seq_len + 1))
    native.loss_and_gradients(windows)
    total = 0.0
    for schedule in native.schedules.values():
        calls = [call for call in schedule.calls if name_of(call).startswith("attention")]
        chunks = spec.recipe.batch_size / len(native.schedules) / schedule.sizes.rows
        total += chunks * sum(seconds(call, before=lambda: _refill(schedule)) for call in calls)  # noqa: B023
    return total


def _refill(schedule: object) -> None:
    """What the way back has made of queries, keys and values is no input to begin with again."""
    for kept in schedule.layers:  # type: ignore[attr-defined]
        kept.qkv_WN.normal_()


def name_of(call: object) -> str:
    """Of a schedule's call: the kernel's, or that of torch's function."""
    function = getattr(call, "func", call)
    return str(getattr(function, "__name__", function))


def dtype_of(spec: CellSpec) -> torch.dtype:
    return torch.bfloat16 if spec.precision == "bf16" else torch.float32


def seconds(call: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """The median of a few calls."""
    before()
    call()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < LOOP_S and len(times) < 50):
        before()
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times))
