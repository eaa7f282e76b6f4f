"""Weights drawn one tensor at a time."""

from __future__ import annotations

import pytest
import torch

from models.factory import build_model, build_undrawn
from models.shapes import Shape

HOW = {"seq_len": 16, "seed": 3, "init_std": 0.02}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("tied", [False, True])
def test_weights_drawn_one_by_one_are_those_of_the_model_that_is_built_whole(family: str, tied: bool) -> None:
    """Truth: the model that transformers builds after torch.manual_seed, to the bit."""
    shape = Shape(family, 32, 2, 4, 4, 96, 257, tied)  # type: ignore[arg-type]
    whole = dict(build_model(shape, **HOW).named_parameters())  # type: ignore[arg-type]
    before = torch.random.get_rng_state()
    model, draw = build_undrawn(shape, **HOW)  # type: ignore[arg-type]
    found = {name: p.detach() for name, p in model.named_parameters() if not p.is_meta}
    assert all(p.ndim == 1 for p in found.values()), "matrices wait"
    draw(found.__setitem__)
    assert torch.equal(before, torch.random.get_rng_state())
    assert set(found) == set(whole)
    for name, parameter in whole.items():
        assert torch.equal(found[name], parameter), name
    for name, buffer in build_model(shape, **HOW).named_buffers():  # type: ignore[arg-type]
        assert torch.equal(model.get_buffer(name), buffer), name
