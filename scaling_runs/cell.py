"""A cell of a plan: its spec, and what its sweep knows of it."""

from __future__ import annotations

from dataclasses import dataclass

from models.flops import params
from scaling_runs.spec import CellSpec


@dataclass(frozen=True)
class Cell:
    """One planned run."""

    spec: CellSpec
    budget: float
    """Nominal FLOPs; `spec.flops` is what whole steps spend."""
    epochs: float
    """Passes over the corpus."""

    @property
    def cell_id(self) -> str:
        return self.spec.cell_id

    @property
    def params(self) -> int:
        """Without the input embedding."""
        return params(self.spec.shape, self.spec.seq_len, "no_embedding")
