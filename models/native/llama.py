"""Llama's loss and gradients on one CPU thread, without autograd: torch's matrix products, and C for all between them.

A small model's step is a few dozen products of a tenth of a millisecond. What lies between them is one call of a C
kernel each, and everything is written into memory that is laid out once, in chunks of a batch that stay in the cache.
In bf16 the products and what is kept for the way back are bf16; residual sums, norms, softmax and the sums of
gradients are fp32. The weights are those of the transformers model, whose own passes are the truth in the tests.

Shapes: N = B·T tokens of a chunk, W width, H heads of K, M MLP width, V vocabulary. A name that ends in WN is held
transposed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM

from models import llama_cpu
from models.native.library import kernels
from models.native.schedule import Buffers, Schedule, Sizes
from models.native.weights import weights_in

CHUNK_TOKENS = {"fp32": 256, "bf16": 2048}
"""At most this many tokens go through the whole model at once. In bf16 torch's products bring their operands into an
order of their own first, which pays on longer ones."""
MAX_HEAD_WIDTH = 256
"""A head's work area is to stay in the cache."""


def applies(model: torch.nn.Module, seq_len: int, precision: str) -> TypeGuard[LlamaForCausalLM]:
    """Whether `NativeLlama` can train a model of `models.factory`: on one thread, where there is a C compiler, and
    where gradients could be written out by `llama_cpu` too."""
    return (
        torch.get_num_threads() == 1
        and llama_cpu.applies(model, seq_len)
        and model.config.hidden_size // model.config.num_attention_heads <= MAX_HEAD_WIDTH
        and all(p.requires_grad for p in model.parameters())
        and kernels(precision) is not None
    )


class NativeLlama:
    """The parameters of a model as one flat buffer, their gradients as another, and the schedules over them."""

    def __init__(self, model: LlamaForCausalLM, seq_len: int, precision: str) -> None:
        """Moves the model's parameters into the buffer, where they stay the same `Parameter` objects."""
        library = kernels(precision)
        assert library is not None, "applies() comes first"
        self.library, self.model, self.seq_len = library, model, seq_len
        self.parameters = list(model.parameters())
        flat = torch.cat([p.detach().flatten() for p in self.parameters])
        weights, gradients = weights_in(flat, model), weights_in(torch.zeros_like(flat), model)
        narrow = precision == "bf16"
        self.buffers = Buffers(
            weights=weights,
            in_products=weights_in(flat.bfloat16(), model) if narrow else weights,
            gradients=gradients,
            by_products=weights_in(torch.zeros_like(flat, dtype=torch.bfloat16), model) if narrow else None,
            turns=_turns(model.model.rotary_emb.inv_freq, seq_len),
        )
        self.gradient_of = self._split(gradients.flat)
        self.flat_gradients = ctypes.c_void_p(gradients.flat.data_ptr()), ctypes.c_int64(len(flat))
        self.chunk_tokens = CHUNK_TOKENS[precision]
        for parameter, view in zip(self.parameters, self._split(flat), strict=True):
            parameter.data = view
        self.schedules: dict[tuple[int, float], Schedule] = {}

    def loss_and_gradients(self, windows_BT: Tensor) -> Tensor:
        """Mean cross-entropy in nats of windows (B, T+1); its gradients become those of the parameters."""
        self._refresh()
        self.library.clear(*self.flat_gradients)
        tokens = len(windows_BT) * self.seq_len
        total = sum(schedule.total_loss() for schedule in self._run(windows_BT, 1 / tokens))
        for parameter, gradient in zip(self.parameters, self.gradient_of, strict=True):
            parameter.grad = gradient
        return torch.scalar_tensor(total / tokens)

    def takes(self, windows_BT: Tensor) -> bool:
        """Whether `losses` may be asked: windows of this length, and nobody wants to go back through them."""
        return windows_BT.shape[1] == self.seq_len + 1 and not torch.is_grad_enabled()

    def losses(self, windows_BT: Tensor) -> Tensor:
        """Cross-entropy in nats of each next token: windows (B, T+1) -> (B, T)."""
        self._refresh()
        chunks = [schedule.losses_N.clone() for schedule in self._run(windows_BT, 0.0)]
        return torch.cat(chunks).view(-1, self.seq_len)

    def clip_gradients(self, max_norm: float) -> Tensor:
        """The norm of the gradients, which are cut to `max_norm` where it is more, as by torch's `clip_grad_norm_`."""
        return torch.scalar_tensor(self.library.clip(*self.flat_gradients, ctypes.c_double(max_norm)))

    def _refresh(self) -> None:
        """Let products read the weights as they are now."""
        buffers = self.buffers
        if buffers.in_products is not buffers.weights:
            buffers.in_products.flat.copy_(buffers.weights.flat)

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = flat.split([p.numel() for p in self.parameters])
        return [part.view(p.shape) for part, p in zip(parts, self.parameters, strict=True)]

    def _run(self, windows_BT: Tensor, loss_weight: float) -> Iterator[Schedule]:
        """Chunk after chunk, as even as can be, each with its losses in the schedule that it was run by.

        Small calls of torch take ten times as long between products as alone, so addresses are reckoned here.
        """
        windows_BT = windows_BT.long().contiguous()
        count, most = len(windows_BT), max(1, self.chunk_tokens // self.seq_len)
        chunks = -(-count // most)
        bounds = [count * i // chunks for i in range(chunks + 1)]
        for start, end in pairwise(bounds):
            schedule = self._schedule(end - start, loss_weight)
            schedule.run(windows_BT.data_ptr() + start * windows_BT.stride(0) * windows_BT.element_size())
            yield schedule

    def _schedule(self, rows: int, weight: float) -> Schedule:
        key = rows, weight
        if key not in self.schedules:
            config = self.model.config
            sizes = Sizes(
                rows=rows,
                seq_len=self.seq_len,
                width=config.hidden_size,
                heads=config.num_attention_heads,
                mlp_width=config.intermediate_size,
                vocab_size=config.vocab_size,
                eps=config.rms_norm_eps,
            )
            self.schedules[key] = Schedule(self.library, sizes, self.buffers, weight)
        return self.schedules[key]


def _turns(rates: Tensor, seq_len: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles (Su et al., arXiv 2104.09864, equation 34): (K/2, T to the next 16)."""
    angles = torch.outer(rates, torch.arange(seq_len, dtype=rates.dtype))
    padded = F.pad(angles, (0, -seq_len % 16))
    return padded.cos().contiguous(), padded.sin().contiguous()
