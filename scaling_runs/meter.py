"""What is read off a cell while it trains: its records, and whether its numbers are numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from fit.errors import UserError
from models.flops import train_flops_per_token
from scaling_runs.checkpoint import Progress
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.store import Record

RECORDS = 100
"""Lines of metrics that a cell writes, however long it is."""


class CellFailed(UserError):
    """Training cannot go on: the reason is recorded and the sweep goes on without the cell."""


def finite(what: str, value: float, step: int) -> float:
    """`value`. Raises CellFailed where it is no number: training has diverged."""
    if not math.isfinite(value):
        raise CellFailed(
            f"the {what} is {value} at step {step}, where a finite number is expected; lower the learning rate "
            f"(recipe.lr, or recipe.muon_lr)"
        )
    return value


class Meter:
    """Mean training loss between two records; read a hundred times a cell, so the device is seldom waited for."""

    def __init__(self, spec: CellSpec, runtime: Runtime, begun: Progress) -> None:
        self.spec, self.runtime = spec, runtime
        self.forked_at, self.trunk_s = begun.forked_at, begun.trunk_s
        self.peak_flops_per_s = (
            runtime.peak_flops_per_s
        )  # measured, it takes a while: before the clock starts
        self.flops_per_token = train_flops_per_token(spec.shape, spec.seq_len, "exact")
        self.sum, self.count = torch.tensor(begun.unread_loss), begun.unread_steps

    def unread(self, progress: Progress) -> Progress:
        """With the steps since the last record, which the next one is to tell of too. Every rank calls this."""
        unread_loss = float(self.runtime.mean_over_ranks(self.sum))
        return replace(progress, unread_loss=unread_loss, unread_steps=self.count)

    def add(self, loss: torch.Tensor) -> None:
        self.sum = self.sum.to(loss.device) + loss
        self.count += 1

    def due(self, step: int) -> bool:
        return step % max(1, self.spec.steps // RECORDS) == 0 or step == self.spec.steps

    def place(self, step: int) -> Record:
        """Where on the way `step` is: what every record begins with, so that any of the three can be a plot's axis."""
        return {
            "step": step,
            "tokens": step * self.spec.batch_tokens,
            "flops": step * self.spec.flops // self.spec.steps,
        }

    def read(self, step: int, wall_s: float, lr: float, grad_norm: torch.Tensor) -> Record:
        """Of the steps since the last record; wall_s: the cell's own. CellFailed where their loss is no number."""
        loss = finite("training loss", float(self.runtime.mean_over_ranks(self.sum / self.count)), step)
        self.sum, self.count = torch.zeros(()), 0
        place = self.place(step)
        tokens_per_s = (step - self.forked_at) * self.spec.batch_tokens / wall_s
        return place | {
            "train_loss": loss,
            "lr": lr,
            "grad_norm": finite("gradient norm", float(grad_norm), step),
            "tokens_per_s": tokens_per_s,
            "mfu": tokens_per_s * self.flops_per_token / self.peak_flops_per_s,
            "wall_s": self.trunk_s + wall_s,
        }
