"""Which parameter is trained by what."""

from __future__ import annotations

import pytest
import torch

from models.factory import build_model
from models.shapes import Shape
from scaling_runs.muon import StackedMuon
from scaling_runs.optim import build_optimizers, set_lr
from scaling_runs.recipe import RecipeConfig, resolve

SHAPES = [
    Shape("llama", 16, 2, 2, 2, 48, 257),
    Shape("gpt2", 16, 2, 2, 2, 64, 257),
    Shape("llama", 16, 2, 2, 2, 48, 257, tied=True),
]


def recipe_of(optimizer: str):  # type: ignore[no-untyped-def]
    return resolve(RecipeConfig(optimizer=optimizer, lr=6e-3), params=5000, batch=4, seq_len=32, steps=100)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.family}-{shape.tied}")
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_parameter_is_trained_once(shape: Shape, optimizer: str) -> None:
    """Truth: the model's own list of parameters."""
    model = build_model(shape, seq_len=32, seed=0, init_std=0.02)
    groups = [group for one in build_optimizers(model, recipe_of(optimizer)) for group in one.param_groups]
    trained = [id(p) for group in groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in model.parameters())


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.family}-{shape.tied}")
def test_muon_has_the_blocks_matrices_and_decay_spares_vectors(shape: Shape) -> None:
    """Truth: the parameters' names. Jordan et al. leave embedding and head to Adam."""
    model = build_model(shape, seq_len=32, seed=0, init_std=0.02)
    names = {id(p): name for name, p in model.named_parameters()}
    muon, adamw = build_optimizers(model, recipe_of("muon"))
    assert isinstance(muon, StackedMuon)
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    blocks = {
        name for name, p in model.named_parameters() if (".layers." in name or ".h." in name) and p.ndim == 2
    }
    assert by_muon == blocks
    undecayed = {
        names[id(p)] for group in adamw.param_groups if group["weight_decay"] == 0 for p in group["params"]
    }
    assert undecayed == {name for name, p in model.named_parameters() if p.ndim == 1}


def test_one_factor_scales_both_peaks() -> None:
    model = build_model(SHAPES[0], seq_len=32, seed=0, init_std=0.02)
    recipe = recipe_of("muon")
    optimizers = build_optimizers(model, recipe)
    assert set_lr(optimizers, recipe, recipe.warmup_steps, 100) == pytest.approx(6e-3)
    assert optimizers[0].param_groups[0]["lr"] == pytest.approx(recipe.muon_lr)
    half = set_lr(optimizers, recipe, recipe.warmup_steps + 45, 100)
    assert half == pytest.approx(3e-3)
    assert optimizers[0].param_groups[0]["lr"] == pytest.approx(recipe.muon_lr / 2)


def test_adamw_takes_llama_3s_numbers() -> None:
    """Truth: β 0.9/0.95, decay 0.1 times the learning rate (arXiv 2407.21783): torch's decay is decoupled."""
    model = build_model(SHAPES[0], seq_len=32, seed=0, init_std=0.02)
    (adamw,) = build_optimizers(model, recipe_of("adamw"))
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.param_groups[0]["betas"] == (0.9, 0.95)
    assert adamw.param_groups[0]["weight_decay"] == 0.1
