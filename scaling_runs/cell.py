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
    """Passes over the corpus; over the part of a mixture that is repeated most."""
    fork_steps: int = 0
    """Steps that another cell of the plan trains for it, on the trunk that both have; 0 where it trains all."""
    repeated: str = "the corpus"
    """What `epochs` are over, for a sentence."""

    @property
    def trained_steps(self) -> int:
        """Steps that the plan spends on it."""
        return self.spec.steps - self.fork_steps

    @property
    def trained_tokens(self) -> int:
        return self.trained_steps * self.spec.batch_tokens

    @property
    def trained_flops(self) -> int:
        return self.spec.flops // self.spec.steps * self.trained_steps

    @property
    def cell_id(self) -> str:
        return self.spec.cell_id

    @property
    def params(self) -> int:
        """Without the input embedding."""
        return params(self.spec.shape, self.spec.seq_len, "no_embedding")
