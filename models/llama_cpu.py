"""Llama's next-token loss on a CPU with its gradients written out: three autograd nodes for what takes a hundred.

A model of width 16 to 112 spends more time between its matrix products than in them: on dispatch, on copies and on
exponentials that the way back takes a second time. Here projections that read the same input are one product, norm
weights are folded into the matrices that follow them, and exponentials are kept. `benchmarks/step.py` has the
figures. The weights are those of the transformers model, whose own forward pass is the truth in the tests.

Shapes: N = B·T tokens, W width, H heads of K, M MLP width, V vocabulary.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.fsdp import FSDPModule
from transformers import LlamaForCausalLM

MAX_SEQ_LEN = 128
"""Attention keeps the T x T square of each head, which is the faster way only while it stays in the cache."""


def applies(model: torch.nn.Module, seq_len: int) -> TypeGuard[LlamaForCausalLM]:
    """Whether `next_token_losses` can stand for the forward pass of a model of `models.factory`.

    That is in fp32 on a CPU, where each head has keys of its own; torch.compile makes its own of transformers' pass.
    """
    if not isinstance(model, LlamaForCausalLM) or seq_len > MAX_SEQ_LEN:
        return False
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    if isinstance(model.model.layers[0], FSDPModule):  # whose weights only its own forward pass gathers
        return False
    config, weight = model.config, model.lm_head.weight
    plain = config.num_key_value_heads == config.num_attention_heads and not (
        config.attention_bias or config.mlp_bias
    )
    return plain and weight.device.type == "cpu" and weight.dtype == torch.float32


def next_token_losses(model: LlamaForCausalLM, windows_BT: Tensor) -> Tensor:
    """Cross-entropy in nats of each next token: windows (B, T+1) -> (B, T)."""
    tokens_BT, targets_BT = windows_BT[:, :-1], windows_BT[:, 1:]
    (B, T), config = tokens_BT.shape, model.config
    heads, eps = config.num_attention_heads, config.rms_norm_eps
    turns = _turns(model.model.rotary_emb.inv_freq, T)
    x_NW = F.embedding(tokens_BT, model.model.embed_tokens.weight).flatten(0, 1)
    for layer in model.model.layers:
        a, m = layer.self_attn, layer.mlp
        projections = (a.q_proj.weight, a.k_proj.weight, a.v_proj.weight, a.o_proj.weight)
        x_NW = _Attention.apply(x_NW, layer.input_layernorm.weight, *projections, turns, (B, T, heads), eps)
        matrices = (m.gate_proj.weight, m.up_proj.weight, m.down_proj.weight)
        x_NW = _Mlp.apply(x_NW, layer.post_attention_layernorm.weight, *matrices, eps)
    norm, head = model.model.norm.weight, model.lm_head.weight
    return _Head.apply(x_NW, norm, head, targets_BT.flatten(), eps).view(B, T)


class _Attention(torch.autograd.Function):
    """x + attention(norm(x))."""

    @staticmethod
    def forward(
        ctx: Any,
        x_NW: Tensor,
        norm_W: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        turns: Tensor,
        sizes: tuple[int, int, int],
        eps: float,
    ) -> Tensor:
        (B, T, H), W = sizes, x_NW.shape[1]
        xhat, rms = _normalised(x_NW, eps)
        matrix = torch.cat((_pairs_side_by_side(torch.stack((query, key)), H).flatten(0, 1), value))
        folded = matrix * norm_W
        flat = (xhat @ folded.T).view(B, T, 3, H, W // H)
        by_head = flat.new_empty(3, B, H, T, W // H)
        _turn(flat, by_head.permute(1, 3, 0, 2, 4), turns)
        q, k, v = by_head.flatten(1, 2)
        weights = torch.baddbmm(_ahead(T), q, k.mT, alpha=q.shape[-1] ** -0.5).softmax(-1)
        mixed = torch.bmm(weights, v).view(B, H, T, -1).transpose(1, 2).reshape(-1, W)
        ctx.save_for_backward(xhat, rms, matrix, folded, norm_W, output, by_head, weights, mixed, turns)
        return torch.addmm(x_NW, mixed, output.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        xhat, rms, matrix, folded, norm_W, output, by_head, weights, mixed, turns = ctx.saved_tensors
        _, B, H, T, K = by_head.shape
        q, k, v = by_head.flatten(1, 2)
        scale = K**-0.5
        d_mixed = (dy @ output).view(B, T, H, K).transpose(1, 2).reshape(B * H, T, K)
        d_by_head = torch.empty_like(by_head)
        dq, dk, dv = d_by_head.flatten(1, 2)
        torch.bmm(weights.mT, d_mixed, out=dv)
        d_weights = torch.bmm(d_mixed, v.mT)
        d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype).mul_(scale)
        torch.bmm(d_scores, k, out=dq)
        torch.bmm(d_scores.mT, q, out=dk)
        d_flat = dy.new_empty(B, T, 3, H, K)
        _turn(d_by_head.permute(1, 3, 0, 2, 4), d_flat, turns.conj())
        dx, d_norm, d_matrix = _through_norm(d_flat.view(B * T, -1), xhat, rms, matrix, folded, norm_W)
        d_query_key, d_value = d_matrix.split((2 * H * K, H * K))
        d_query, d_key = _halves_in_turn(d_query_key.view(2, H * K, -1), H)
        return dx.add_(dy), d_norm, d_query, d_key, d_value, dy.T @ mixed, None, None, None


class _Mlp(torch.autograd.Function):
    """x + down(silu(gate(norm(x))) * up(norm(x)))."""

    @staticmethod
    def forward(
        ctx: Any, x_NW: Tensor, norm_W: Tensor, gate: Tensor, up: Tensor, down: Tensor, eps: float
    ) -> Tensor:
        xhat, rms = _normalised(x_NW, eps)
        matrix = torch.cat((gate, up))
        folded = matrix * norm_W
        M = len(gate)
        g, u = xhat @ folded[:M].T, xhat @ folded[M:].T
        sigmoid = g.sigmoid()
        silu = g.mul_(sigmoid)
        act = silu * u
        ctx.save_for_backward(xhat, rms, matrix, folded, norm_W, down, sigmoid, silu, u, act)
        return torch.addmm(x_NW, act, down.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        xhat, rms, matrix, folded, norm_W, down, sigmoid, silu, u, act = ctx.saved_tensors
        M = silu.shape[1]
        d_act = dy @ down
        d_both = dy.new_empty(len(dy), 2 * M)
        torch.mul(d_act, silu, out=d_both[:, M:])
        # silu'(g) = s + g s (1 - s) with s the sigmoid
        slope = torch.addcmul(sigmoid, silu, sigmoid, value=-1).add_(silu)
        torch.mul(d_act.mul_(u), slope, out=d_both[:, :M])
        dx, d_norm, d_matrix = _through_norm(d_both, xhat, rms, matrix, folded, norm_W)
        return dx.add_(dy), d_norm, d_matrix[:M], d_matrix[M:], dy.T @ act, None


class _Head(torch.autograd.Function):
    """-log softmax(head(norm(x))) at the target."""

    @staticmethod
    def forward(
        ctx: Any, x_NW: Tensor, norm_W: Tensor, matrix: Tensor, targets_N: Tensor, eps: float
    ) -> Tensor:
        xhat, rms = _normalised(x_NW, eps)
        folded = matrix * norm_W
        logits_NV = xhat @ folded.T
        chances_NV = logits_NV.softmax(-1)
        # the normaliser from the likeliest token, whose chance never underflows: one exponential a logit
        log_sum = logits_NV.amax(1) - chances_NV.amax(1).log_()
        ctx.save_for_backward(xhat, rms, matrix, folded, norm_W, chances_NV, targets_N)
        return log_sum - logits_NV.gather(1, targets_N[:, None]).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_N: Tensor) -> tuple[Tensor | None, ...]:
        xhat, rms, matrix, folded, norm_W, chances_NV, targets_N = ctx.saved_tensors
        d_logits = chances_NV * dy_N[:, None]
        d_logits.scatter_add_(1, targets_N[:, None], -dy_N[:, None])
        return *_through_norm(d_logits, xhat, rms, matrix, folded, norm_W), None, None


def _normalised(x_NW: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x over its root mean square, and one over that (N, 1)."""
    length = torch.linalg.vector_norm(x_NW, dim=-1, keepdim=True)
    over_rms = length.square_().div_(x_NW.shape[-1]).add_(eps).rsqrt_()
    return x_NW * over_rms, over_rms


def _through_norm(
    d_out: Tensor, xhat: Tensor, over_rms: Tensor, matrix: Tensor, folded: Tensor, norm_W: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, the norm's weight and `matrix`, where out = (xhat * norm) @ matrix.T and xhat = x / rms(x)."""
    d_xhat, d_folded = d_out @ folded, d_out.T @ xhat
    along = torch.linalg.vecdot(d_xhat, xhat).div_(xhat.shape[-1])
    dx = d_xhat.addcmul_(xhat, along[:, None], value=-1).mul_(over_rms)
    return dx, torch.linalg.vecdot(d_folded, matrix, dim=0), d_folded.mul_(norm_W)


def _pairs_side_by_side(rows: Tensor, heads: int) -> Tensor:
    """(2, W, …) with the rows of each head that rotate together, i and i + K/2, made neighbours: a complex number."""
    return rows.unflatten(1, (heads, 2, -1)).transpose(2, 3).flatten(1, 3)


def _halves_in_turn(rows: Tensor, heads: int) -> Tensor:
    """What `_pairs_side_by_side` undoes."""
    return rows.unflatten(1, (heads, -1, 2)).transpose(2, 3).flatten(1, 3)


def _turn(source: Tensor, target: Tensor, turns: Tensor) -> None:
    """Rotate queries and keys of (B, T, 3, H, K) by position, and copy the values as they are."""
    pairs, turned = (torch.view_as_complex(x[:, :, :2].unflatten(-1, (-1, 2))) for x in (source, target))
    torch.mul(pairs, turns, out=turned)
    target[:, :, 2] = source[:, :, 2]


def _turns(rates: Tensor, seq_len: int) -> Tensor:
    """(T, 1, 1, K/2) unit complex numbers: the rotary angles (Su et al., arXiv 2104.09864, equation 34)."""
    angles = torch.outer(torch.arange(seq_len, dtype=rates.dtype), rates)
    return torch.polar(torch.ones_like(angles), angles)[:, None, None]


@cache
def _ahead(seq_len: int) -> Tensor:
    """(T, T) what is added to the scores: nothing, and minus infinity where the key lies ahead of the query."""
    return torch.full((seq_len, seq_len), float("-inf")).triu(1)
