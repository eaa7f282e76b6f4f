"""Norm and cross-entropy, against torch's own and against finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from models.factory import build_model
from models.kernels import RMSNorm, cross_entropy
from models.shapes import Shape


def test_the_norm_is_llamas_with_its_gradients() -> None:
    """Truth: transformers' LlamaRMSNorm through autograd."""
    torch.manual_seed(0)
    theirs = LlamaRMSNorm(24, eps=1e-5)
    torch.nn.init.uniform_(theirs.weight)
    ours = RMSNorm(torch.nn.Parameter(theirs.weight.detach().clone()), 1e-5)
    x = torch.randn(3, 7, 24, requires_grad=True)
    gradient = torch.randn(3, 7, 24)
    results = []
    for norm in (theirs, ours):
        out = norm(x)
        results.append((out, *torch.autograd.grad(out, (x, norm.weight), gradient)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_cross_entropy_is_torchs_with_its_gradient() -> None:
    """Truth: torch.nn.functional.cross_entropy through autograd, large logits included."""
    torch.manual_seed(0)
    logits = (30 * torch.randn(50, 257)).requires_grad_()
    targets, gradient = torch.randint(257, (50,)), torch.rand(50)
    results = []
    for loss in (F.cross_entropy(logits, targets, reduction="none"), cross_entropy(logits, targets)):
        results.append((loss, *torch.autograd.grad(loss, logits, gradient)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    """Truth: torch.autograd.gradcheck in double precision."""
    torch.manual_seed(0)
    norm = RMSNorm(torch.nn.Parameter(torch.rand(5, dtype=torch.float64)), 1e-5)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: norm.forward(x) * w.sum(), (x, norm.weight))
    logits = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda rows: cross_entropy(rows, torch.tensor([0, 5, 2, 2])), (logits,))


@pytest.mark.parametrize("depth", [1, 3])
def test_a_models_norms_keep_their_names_and_places(depth: int) -> None:
    """Truth: the parameters of the transformers model on a device where its own norms stay."""
    shape = Shape("llama", 16, depth, 2, 2, 48, 257)
    ours = build_model(shape, seq_len=8, seed=0, init_std=0.02)
    theirs = build_model(shape, seq_len=8, seed=0, init_std=0.02, device="meta")
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    norms = [module for module in ours.modules() if isinstance(module, RMSNorm)]
    assert len(norms) == 2 * depth + 1
    assert not any(isinstance(module, LlamaRMSNorm) for module in ours.modules())
