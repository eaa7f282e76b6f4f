"""The calls that take one chunk of a batch through a Llama and back, over memory that is laid out once.

A call is one product of torch's, or one kernel of `attention.c` and `kernels.c`; all are made with their arguments
bound, so that to train on a chunk is to go through a list. `models/native/llama.py` says what the letters mean.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from models.native.weights import Layer, Weights

LANES = 16
"""Floats of a vector. The kernels walk along rows that end on one."""

Call = Callable[[], object]


@dataclass(frozen=True)
class Sizes:
    """Of a chunk and its model."""

    rows: int
    """Sequences: B."""
    seq_len: int
    width: int
    heads: int
    mlp_width: int
    vocab_size: int
    eps: float
    """Of the norms."""

    @property
    def tokens(self) -> int:
        return self.rows * self.seq_len

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def padded_len(self) -> int:
        return _up_to(self.seq_len, LANES)


@dataclass(frozen=True)
class Kept:
    """What a layer's way there leaves for its way back."""

    x_NW: Tensor
    """What enters the layer, and, after attention, its MLP: residual sums in fp32."""
    middle_NW: Tensor
    h_NW: Tensor
    """Each normalised."""
    h_middle_NW: Tensor
    over_rms_N: Tensor
    over_rms_middle_N: Tensor
    qkv_WN: Tensor
    """Queries, keys, values, which become their own gradients."""
    chances: Tensor
    mixed_WN: Tensor
    gate_up_NM: Tensor
    act_NM: Tensor


@dataclass(frozen=True)
class Buffers:
    """What all schedules of a model share."""

    weights: Weights
    in_products: Weights
    """As products read them: `weights` themselves in fp32."""
    gradients: Weights
    by_products: Weights | None
    """Where products leave gradients to be added to `gradients`; None in fp32, where they add to those themselves."""
    turns: tuple[Tensor, Tensor]
    """Cosines and sines of the rotary angles."""


class Schedule:
    """The calls for chunks of one size."""

    def __init__(self, library: ctypes.CDLL, sizes: Sizes, buffers: Buffers, loss_weight: float) -> None:
        """`loss_weight`: what a token's loss counts in the gradient; 0 where none is asked for, and nothing is kept."""
        self.library, self.sizes, self.buffers, self.loss_weight = library, sizes, buffers, loss_weight
        self.dtype = buffers.in_products.flat.dtype
        s = sizes
        self.tokens_BT = torch.empty(s.rows, s.seq_len, dtype=torch.int64)
        self.targets_BT = torch.empty_like(self.tokens_BT)
        self.losses_N = torch.empty(s.tokens)
        self.y_NW, self.dh_NW = self._act(s.tokens, s.width), self._act(s.tokens, s.width)
        self.dx_NW = torch.empty(s.tokens, s.width)
        self.dx_act_NW = self._act(s.tokens, s.width) if self.dtype != torch.float32 else self.dx_NW
        self.d_mixed_WN, self.d_act_NM = self._transposed(s.width), self._act(s.tokens, s.mlp_width)
        self.logits_NV = self._act(s.tokens, _up_to(s.vocab_size, LANES))[:, : s.vocab_size]
        self.last_NW, self.h_last_NW = torch.empty(s.tokens, s.width), self._act(s.tokens, s.width)
        self.over_rms_last_N = torch.empty(s.tokens)
        self.vocab_row = torch.empty(_up_to(s.vocab_size, LANES))
        self.scratch = torch.empty(_scratch_floats(s))
        shared = None if loss_weight else self._kept()
        self.layers = [shared or self._kept() for _ in buffers.weights.layers]
        self.taken = [
            _argument(value) for value in (self.tokens_BT, self.targets_BT, s.rows, s.seq_len, s.vocab_size)
        ]
        self.add_up = self._kernel("total", self.losses_N, s.tokens)
        self.calls = self._there() + (self._back() if loss_weight else [])

    def run(self, windows: int) -> None:
        """Go through the chunk of windows (B, T+1) at this address: losses in `losses_N`, gradients added to theirs.

        IndexError for a token that the vocabulary lacks, which C would not notice.
        """
        if self.library.take_windows(ctypes.c_void_p(windows), *self.taken):
            raise IndexError(f"a token in a batch is none of the vocabulary's {self.sizes.vocab_size}")
        for call in self.calls:
            call()

    def total_loss(self) -> float:
        """Of the last run: nats, summed over its tokens."""
        return float(self.add_up())  # type: ignore[arg-type]

    # ---- memory

    def _act(self, *shape: int) -> Tensor:
        """Zeros, for what pads a row: oneDNN's products on AMX take it in times zero, which is NaN where it is NaN."""
        return torch.zeros(*shape, dtype=self.dtype)

    def _transposed(self, features: int) -> Tensor:
        """(features, N), rows a vector longer, so that they don't all begin at one place of the cache."""
        return self._act(features, _up_to(self.sizes.tokens, LANES) + LANES)[:, : self.sizes.tokens]

    def _kept(self) -> Kept:
        s = self.sizes
        square = s.rows * s.heads * s.padded_len**2 if self.loss_weight else 0
        return Kept(
            x_NW=torch.empty(s.tokens, s.width),
            middle_NW=torch.empty(s.tokens, s.width),
            h_NW=self._act(s.tokens, s.width),
            h_middle_NW=self._act(s.tokens, s.width),
            over_rms_N=torch.empty(s.tokens),
            over_rms_middle_N=torch.empty(s.tokens),
            qkv_WN=self._transposed(3 * s.width),
            chances=torch.zeros(square, dtype=self.dtype),
            mixed_WN=self._transposed(s.width),
            gate_up_NM=self._act(s.tokens, 2 * s.mlp_width),
            act_NM=self._act(s.tokens, s.mlp_width),
        )

    # ---- the way there

    def _there(self) -> list[Call]:
        s, w, matrices = self.sizes, self.buffers.weights, self.buffers.in_products
        first = self.layers[0]
        calls = [self._kernel("embed", w.embedding, self.tokens_BT, first.x_NW, s.tokens, s.width)]
        entering, sum_of = first.x_NW, None
        for kept, layer, products in zip(self.layers, w.layers, matrices.layers, strict=True):
            calls.append(self._add_norm(entering, sum_of, kept.x_NW, layer.norm, kept.h_NW, kept.over_rms_N))
            calls += self._attention(kept, layer, products)
            calls += self._mlp(kept, products)
            entering, sum_of = kept.middle_NW, self.y_NW
        calls.append(
            self._add_norm(entering, sum_of, self.last_NW, w.norm, self.h_last_NW, self.over_rms_last_N)
        )
        calls.append(_product(self.h_last_NW, matrices.head.T, self.logits_NV))
        calls.append(
            self._kernel(
                "cross_entropy",
                *(self.logits_NV, self.logits_NV.stride(0), self.targets_BT, self.losses_N, self.vocab_row),
                *(s.tokens, s.vocab_size, self.loss_weight),
            )
        )
        return calls

    def _attention(self, kept: Kept, layer: Layer, matrices: Layer) -> list[Call]:
        s = self.sizes
        return [
            _product(matrices.qkv, kept.h_NW.T, kept.qkv_WN),
            self._kernel(
                "attention",
                *(kept.qkv_WN, kept.qkv_WN.stride(0), *self.buffers.turns, kept.mixed_WN),
                *(kept.chances if self.loss_weight else None, self.scratch),
                *(s.rows, s.heads, s.seq_len, s.head_width),
            ),
            _product(kept.mixed_WN.T, matrices.output.T, self.y_NW),
            self._add_norm(
                *(kept.x_NW, self.y_NW, kept.middle_NW),
                *(layer.norm_middle, kept.h_middle_NW, kept.over_rms_middle_N),
            ),
        ]

    def _mlp(self, kept: Kept, matrices: Layer) -> list[Call]:
        s = self.sizes
        return [
            _product(kept.h_middle_NW, matrices.gate_up.T, kept.gate_up_NM),
            self._kernel("swiglu", kept.gate_up_NM, kept.act_NM, s.tokens, s.mlp_width),
            _product(kept.act_NM, matrices.down.T, self.y_NW),
        ]

    def _add_norm(
        self, x: Tensor, y: Tensor | None, sums: Tensor, gain: Tensor, h: Tensor, over_rms: Tensor
    ) -> Call:
        s = self.sizes
        return self._kernel("add_norm", x, y, sums, gain, h, over_rms, s.tokens, s.width, s.eps)

    # ---- the way back

    def _back(self) -> list[Call]:
        s, buffers, w, g = self.sizes, self.buffers, self.buffers.weights, self.buffers.gradients
        made = buffers.by_products or g
        calls: list[Call] = [
            self._gradient(made.head, self.logits_NV.T, self.h_last_NW),
            _product(self.logits_NV, buffers.in_products.head, self.dh_NW),
            self._kernel("clear", self.dx_NW, self.dx_NW.numel()),
            self._norm_back(self.last_NW, w.norm, self.over_rms_last_N, g.norm),
        ]
        of_layers = zip(self.layers, w.layers, buffers.in_products.layers, g.layers, made.layers, strict=True)
        for of_layer in reversed(list(of_layers)):
            calls += self._mlp_back(*of_layer)
            calls += self._attention_back(*of_layer)
        if made is not g:
            calls.append(self._kernel("accumulate", g.flat, made.flat, len(g.flat)))
        calls.append(
            self._kernel("embed_backward", self.dx_NW, self.tokens_BT, g.embedding, s.tokens, s.width)
        )
        return calls

    def _mlp_back(
        self, kept: Kept, layer: Layer, matrices: Layer, gradients: Layer, made: Layer
    ) -> list[Call]:
        s = self.sizes
        return [
            self._gradient(made.down, self.dx_act_NW.T, kept.act_NM),
            _product(self.dx_act_NW, matrices.down, self.d_act_NM),
            self._kernel("swiglu_backward", self.d_act_NM, kept.gate_up_NM, s.tokens, s.mlp_width),
            self._gradient(made.gate_up, kept.gate_up_NM.T, kept.h_middle_NW),
            _product(kept.gate_up_NM, matrices.gate_up, self.dh_NW),
            self._norm_back(kept.middle_NW, layer.norm_middle, kept.over_rms_middle_N, gradients.norm_middle),
        ]

    def _attention_back(
        self, kept: Kept, layer: Layer, matrices: Layer, gradients: Layer, made: Layer
    ) -> list[Call]:
        s = self.sizes
        return [
            self._gradient(made.output, self.dx_act_NW.T, kept.mixed_WN.T),
            _product(matrices.output.T, self.dx_act_NW.T, self.d_mixed_WN),
            self._kernel(
                "attention_backward",
                *(kept.qkv_WN, self.d_mixed_WN, kept.qkv_WN.stride(0), *self.buffers.turns),
                *(kept.chances, self.scratch, s.rows, s.heads, s.seq_len, s.head_width),
            ),
            self._gradient(made.qkv, kept.qkv_WN, kept.h_NW),
            _product(kept.qkv_WN.T, matrices.qkv, self.dh_NW),
            self._norm_back(kept.x_NW, layer.norm, kept.over_rms_N, gradients.norm),
        ]

    def _norm_back(self, x: Tensor, gain: Tensor, over_rms: Tensor, d_gain: Tensor) -> Call:
        s = self.sizes
        narrowed = None if self.dx_act_NW is self.dx_NW else self.dx_act_NW
        return self._kernel(
            "norm_backward", self.dh_NW, x, gain, over_rms, self.dx_NW, narrowed, d_gain, s.tokens, s.width
        )

    def _gradient(self, made: Tensor, left: Tensor, right: Tensor) -> Call:
        """A weight's gradient: added where products can add in fp32, else put down to be added."""
        if self.buffers.by_products is not None:
            return _product(left, right, made)
        return partial(made.addmm_, left, right)

    def _kernel(self, name: str, *arguments: Tensor | int | float | None) -> Call:
        return partial(getattr(self.library, name), *map(_argument, arguments))


def _product(left: Tensor, right: Tensor, out: Tensor) -> Call:
    return partial(torch.mm, left, right, out=out)


def _argument(value: Tensor | int | float | None) -> ctypes._SimpleCData[object]:
    """As the kernels take it. Whoever binds a tensor's address keeps the tensor."""
    if isinstance(value, int):
        return ctypes.c_int64(value)  # type: ignore[return-value]
    if isinstance(value, float):
        return ctypes.c_float(value)  # type: ignore[return-value]
    return ctypes.c_void_p(None if value is None else value.data_ptr())  # type: ignore[return-value]


def _scratch_floats(sizes: Sizes) -> int:
    """What attention.c's `backward_head`, the larger of the two, lays out: 7 heads, a square and two columns."""
    head = _up_to(sizes.head_width, 8) * sizes.padded_len
    return 7 * head + sizes.padded_len**2 + 2 * sizes.padded_len * LANES


def _up_to(count: int, step: int) -> int:
    return math.ceil(count / step) * step
