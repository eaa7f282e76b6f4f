"""The optimisers of a recipe, over a model's parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.optim import Optimizer

from scaling_runs.adamw import OneCallAdamW
from scaling_runs.muon import StackedMuon
from scaling_runs.recipe import Recipe, lr_factor


def build_optimizers(model: torch.nn.Module, recipe: Recipe) -> list[Optimizer]:
    """AdamW for everything, or Muon for the blocks' matrices and AdamW for the rest.

    Decay applies to matrices and embeddings only, never to norms and biases. Each group remembers its peak in
    `peak_lr`, which `set_lr` scales.
    """
    matrices, embeddings, vectors = _split(model)
    fused = all(p.device.type in ("cpu", "cuda") for p in model.parameters())

    def adamw(decayed: list[torch.nn.Parameter]) -> Optimizer:
        groups = [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return OneCallAdamW(groups, lr=recipe.lr, betas=(recipe.beta1, recipe.beta2), eps=1e-8, fused=fused)

    if recipe.optimizer == "adamw":
        optimizers = [adamw(matrices + embeddings)]
    else:
        assert recipe.muon_lr is not None
        optimizers = [
            StackedMuon(matrices, lr=recipe.muon_lr, weight_decay=recipe.weight_decay),
            adamw(embeddings),
        ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_lr(optimizers: Sequence[Optimizer], recipe: Recipe, step: int, steps: int) -> float:
    """Set every group's rate for `step`; returns AdamW's."""
    factor = lr_factor(recipe, step, steps)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
    return recipe.lr * factor


def _split(
    model: torch.nn.Module,
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Parameters as (matrices of the blocks, embeddings and head, norms and biases)."""
    matrices, embeddings, vectors = [], [], []
    outer = {
        id(p)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for p in module.parameters(recurse=False)
    }
    outer |= {id(p) for p in model.get_output_embeddings().parameters()}  # type: ignore[operator]
    for parameter in model.parameters():
        if id(parameter) in outer:
            embeddings.append(parameter)
        elif parameter.ndim >= 2:
            matrices.append(parameter)
        else:
            vectors.append(parameter)
    return matrices, embeddings, vectors
