"""Root-mean-square norm and cross-entropy with their gradients written out: the same numbers as torch's, in a third of
the passes over memory. On a CPU, where nothing fuses small operations, a small model spends a fifth of its step there;
on a GPU torch.compile fuses torch's own, and these stay out of its way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RMSNorm(torch.nn.Module):
    """As `LlamaRMSNorm`: x / sqrt(mean(x^2) + eps) · weight over the last axis (Zhang and Sennrich, arXiv 1910.07467)."""

    def __init__(self, weight: torch.nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        return _RMSNorm.apply(x, self.weight, self.eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = squares.div_(x.shape[-1]).add_(eps).rsqrt_()
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, scale, weight = ctx.saved_tensors
        products = gradient * normed
        mean = (products @ weight).unsqueeze(-1).div_(normed.shape[-1])
        of_x = torch.addcmul(gradient * weight, normed, mean, value=-1).mul_(scale)
        return of_x, products.flatten(0, -2).sum(0), None


def cross_entropy(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """(N,) nats, as `torch.nn.functional.cross_entropy(…, reduction="none")`."""
    return _CrossEntropy.apply(logits_NV, targets_N)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, targets_N: Tensor) -> Tensor:
        targets = targets_N.unsqueeze(1)
        highest = logits_NV.amax(1, keepdim=True)
        probabilities = torch.sub(logits_NV, highest).exp_()
        total = probabilities.sum(1, keepdim=True)
        ctx.save_for_backward(probabilities.div_(total), targets)
        return (total.log_() + highest - logits_NV.gather(1, targets)).squeeze(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        probabilities, targets = ctx.saved_tensors
        column = gradient.unsqueeze(1)
        return (probabilities * column).scatter_add_(1, targets, -column), None
