"""A shape made into a model."""

import torch

from models.factory import build_model
from models.shapes import Shape

SHAPE = Shape("llama", 32, 2, 4, 4, 96, 257)


def weights(seed: int) -> list[torch.Tensor]:
    return list(build_model(SHAPE, seq_len=16, seed=seed, init_std=0.02).parameters())


def test_weights_depend_on_the_seed_alone_and_leave_the_callers_random_state() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first = weights(3)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(5)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(3), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, weights(4), strict=True))


def test_both_attention_kernels_give_the_same_logits() -> None:
    """Truth: attention spelt out."""
    tokens = torch.arange(16)[None, :]
    logits = [
        build_model(SHAPE, seq_len=16, seed=0, init_std=0.2, attention=kernel)(input_ids=tokens).logits
        for kernel in ("fused", "spelt-out")
    ]
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)


def test_no_token_sees_those_that_follow_it() -> None:
    """Truth: the definition of a causal model."""
    for family in ("llama", "gpt2"):
        shape = Shape(family, 32, 2, 4, 4, 96, 257)  # type: ignore[arg-type]
        model = build_model(shape, seq_len=16, seed=0, init_std=0.2).eval()
        tokens = torch.arange(16)[None, :]
        changed = tokens.clone()
        changed[0, 10:] = 99
        torch.testing.assert_close(
            model(input_ids=tokens).logits[:, :10],
            model(input_ids=changed).logits[:, :10],
            atol=1e-5,
            rtol=1e-5,
        )
