"""Save and restore everything that a cell needs to go on bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Optimizer

from scaling_runs.files import whole_file


@dataclass
class Progress:
    """How far a cell has come. The batch of a step is a function of the step, so this is all the data state."""

    step: int = 0
    """Steps done."""
    wall_s: float = 0.0
    """Seconds spent training, over all attempts."""


def save_checkpoint(
    path: Path, model: torch.nn.Module, optimizers: Sequence[Optimizer], progress: Progress
) -> None:
    """Write a checkpoint: a reader, or a crash half-way, sees the old file or the new one, whole."""
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "progress": {"step": progress.step, "wall_s": progress.wall_s},
    }
    with whole_file(path) as file:
        torch.save(state, file)


def load_checkpoint(path: Path, model: torch.nn.Module, optimizers: Sequence[Optimizer]) -> Progress:
    """Restore `model` and `optimizers` in place; a fresh `Progress` where there is no checkpoint yet."""
    if not path.exists():
        return Progress()
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return Progress(**state["progress"])
