"""Causal attention under names of our own, so that transformers builds no mask.

Its own "sdpa" asks on every forward pass whether position ids restart inside a row, which waits for the device
and cannot run on the meta device. Our rows never do: every window is one causal sequence.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

Kernel = Literal["fused", "spelt-out"]
NAMES: dict[Kernel, str] = {"fused": "isoflop_fused", "spelt-out": "isoflop_spelt_out"}
"""As `config._attn_implementation` knows them."""


def fused(
    module: torch.nn.Module,
    query_BHTK: torch.Tensor,
    key_BGTK: torch.Tensor,
    value_BGTK: torch.Tensor,
    attention_mask: None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """One kernel of torch's choice: flash attention on a GPU that has it. Returns (B, T, H, K)."""
    shared = key_BGTK.shape[1] != query_BHTK.shape[1]
    mixed = F.scaled_dot_product_attention(
        query_BHTK, key_BGTK, value_BGTK, is_causal=True, enable_gqa=shared
    )
    return mixed.transpose(1, 2).contiguous(), None


def spelt_out(
    module: torch.nn.Module,
    query_BHTK: torch.Tensor,
    key_BGTK: torch.Tensor,
    value_BGTK: torch.Tensor,
    attention_mask: None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """The textbook products over the whole T x T square: a witness for `fused`, and what FLOPs are counted on."""
    group = query_BHTK.shape[1] // key_BGTK.shape[1]
    key = key_BGTK.repeat_interleave(group, dim=1)
    value = value_BGTK.repeat_interleave(group, dim=1)
    scores = query_BHTK @ key.mT * query_BHTK.shape[-1] ** -0.5
    ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    weights = scores.masked_fill(ahead, float("-inf")).softmax(dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(NAMES["fused"], fused)
ALL_ATTENTION_FUNCTIONS.register(NAMES["spelt-out"], spelt_out)
