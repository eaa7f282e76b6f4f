"""The loss: the way written out for a CPU against transformers' own forward pass and torch's own gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from models import llama_cpu
from models.factory import build_model
from models.loss import NextTokenLoss
from models.shapes import Shape

VOCAB = 257


def a_model(shape: Shape, *, seq_len: int, init_std: float = 0.2) -> PreTrainedModel:
    """Every weight away from where training starts: norms that are not one, logits that are not flat."""
    model = build_model(shape, seq_len=seq_len, seed=0, init_std=init_std)
    noise = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=noise)
    return model


def by_transformers(model: PreTrainedModel, windows: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=windows[:, :-1]).logits
    targets = windows[:, 1:]
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def gradients(model: PreTrainedModel, losses: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    (losses * weights).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@settings(max_examples=25, deadline=None)
@given(
    heads=st.integers(1, 4),
    half_head=st.integers(1, 6),
    depth=st.integers(1, 3),
    mlp=st.integers(1, 50),
    batch=st.integers(1, 5),
    seq_len=st.sampled_from([1, 2, 17, 64, 128]),
    tied=st.booleans(),
)
def test_losses_and_gradients_written_out_are_those_of_transformers(
    heads: int, half_head: int, depth: int, mlp: int, batch: int, seq_len: int, tied: bool
) -> None:
    """Truth: LlamaForCausalLM's own forward pass and torch's autograd, with another weight on each token's loss."""
    width = 2 * half_head * heads
    shape = Shape("llama", width, depth, heads, heads, mlp, VOCAB, tied=tied)
    model = a_model(shape, seq_len=seq_len)
    chance = torch.Generator().manual_seed(2)
    windows = torch.randint(VOCAB, (batch, seq_len + 1), generator=chance)
    weights = torch.rand(batch, seq_len, generator=chance)
    assert llama_cpu.applies(model, seq_len)
    ours = llama_cpu.next_token_losses(model, windows)  # type: ignore[arg-type]
    theirs = by_transformers(model, windows)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    expected = gradients(model, theirs, weights)
    whole = torch.cat([gradient.flatten() for gradient in expected.values()]).norm()
    for name, gradient in gradients(model, ours, weights).items():
        # a gradient that vanishes, as of queries where there is one key, is rounding alone
        scale = max(expected[name].norm(), 0.01 * whole)
        assert (gradient - expected[name]).norm() < 1e-4 * scale, name


def test_a_token_that_was_thought_impossible_costs_its_logit_and_no_infinity() -> None:
    """Truth: torch's cross-entropy; the chance of the target is e^-150 or less, which is 0 in fp32."""
    shape = Shape("llama", 16, 1, 2, 2, 48, VOCAB)
    model = a_model(shape, seq_len=8)
    model.lm_head.weight.data *= 1000
    windows = torch.randint(VOCAB, (2, 9), generator=torch.Generator().manual_seed(0))
    theirs = by_transformers(model, windows)
    assert theirs.max() > 150
    torch.testing.assert_close(NextTokenLoss(model)(windows), theirs, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "seq_len"),
    [
        (Shape("gpt2", 16, 2, 2, 2, 48, VOCAB), 16),
        (Shape("llama", 16, 2, 2, 1, 48, VOCAB), 16),
        (Shape("llama", 16, 2, 2, 2, 48, VOCAB), 129),
    ],
    ids=["gpt2", "shared key-value heads", "a window too long for the cache"],
)
def test_other_models_go_through_transformers(shape: Shape, seq_len: int) -> None:
    """Truth: its own forward pass, to the last bit."""
    model = a_model(shape, seq_len=seq_len)
    windows = torch.randint(VOCAB, (2, seq_len + 1), generator=torch.Generator().manual_seed(0))
    assert not llama_cpu.applies(model, seq_len)
    assert torch.equal(NextTokenLoss(model)(windows), by_transformers(model, windows))


def test_mixed_precision_goes_through_transformers() -> None:
    """Truth: autocast is torch's, and knows nothing of products in functions of our own."""
    model = a_model(Shape("llama", 16, 2, 2, 2, 48, VOCAB), seq_len=16)
    assert llama_cpu.applies(model, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not llama_cpu.applies(model, 16)
    assert not llama_cpu.applies(model.double(), 16)
    on_no_device = build_model(
        Shape("llama", 16, 2, 2, 2, 48, VOCAB), seq_len=16, seed=0, init_std=0.2, device="meta"
    )
    assert not llama_cpu.applies(on_no_device, 16)
