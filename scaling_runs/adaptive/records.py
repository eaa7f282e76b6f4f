"""What passes through the planner: what was measured, what may be trained, what is asked for, and what is decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fit.table import RunTable

Kind = Literal["start", "extend", "widen", "fill", "open", "refine", "repeat"]
LEAST_BUDGETS = 4
"""A law on fewer has an interval that its own scatter hardly widens."""


@dataclass(frozen=True, order=True)
class Request:
    """A cell to train."""

    budget: float
    """Nominal FLOPs."""
    params: int
    seed: int


@dataclass(frozen=True)
class Observation:
    """A finished cell."""

    budget: float
    params: int
    """As the ladder counts them, without the input embedding."""
    tokens: float
    flops: float
    cost: float
    """FLOPs that were spent on it: less than `flops` where it went on from a trunk that others had trained."""
    loss: float
    """Nats a token."""
    seed: int


@dataclass(frozen=True)
class Settings:
    """What a user asks of the planner."""

    budgets: tuple[float, ...]
    """FLOPs, ascending: those that may be trained at."""
    expected_params: float
    """Optimal at `expected_at_flops`, by the user's guess."""
    expected_at_flops: float
    expected_exponent: float
    span: float
    """A valley is sampled from its minimum divided by this to its minimum times this."""
    sizes: int
    """Of the coarse grid at the smallest budget."""
    round_cells: int
    """Cells that a round asks for, or a few more where an action has several."""
    max_flops: float
    exponent_width: float
    """Half width of the 95% interval of the exponent of tokens that is narrow enough."""
    target: float | None = None
    """FLOPs of the run that the user has in mind; where set, its optimum counts and not the exponent."""
    target_within: float = 1.25
    """The interval of the optimal tokens at `target` that is narrow enough reaches this factor to either side."""

    @property
    def aim(self) -> str:
        """Whose variance is cut, in words."""
        return "α" if self.target is None else f"the optimum at {self.target:.3g} FLOPs"

    @property
    def least_budgets(self) -> int:
        """That a law must rest on."""
        return min(LEAST_BUDGETS, len(self.budgets))

    @property
    def half_width(self) -> float:
        """Of the aim's 95% interval that is narrow enough: of α, or of ln optimum."""
        return self.exponent_width if self.target is None else float(np.log(self.target_within))

    def expected_log_optimum(self, budget: float) -> float:
        """ln params, by the user's guess."""
        growth = self.expected_exponent * np.log(budget / self.expected_at_flops)
        return float(np.log(self.expected_params) + growth)


@dataclass(frozen=True)
class Space:
    """What can be trained, and for how much."""

    sizes: Callable[[float], Sequence[int]]
    """Params that a budget can be spent on, ascending."""
    cost: Callable[[Request], float]
    """FLOPs that training this cell would add."""


@dataclass(frozen=True)
class Action:
    """Cells that are asked for together, and why."""

    kind: Kind
    requests: tuple[Request, ...]
    why: str
    flops: float


@dataclass(frozen=True)
class Decision:
    """What to train next, or why to stop."""

    actions: tuple[Action, ...]
    stop: str | None = None

    @property
    def requests(self) -> tuple[Request, ...]:
        return tuple(request for action in self.actions for request in action.requests)


def table_of(observations: Sequence[Observation]) -> RunTable:
    """The run table that the fit is given."""

    def column(name: str) -> np.ndarray:
        return np.array([getattr(one, name) for one in observations], dtype=float)

    return RunTable(
        source="the runs so far",
        budget=column("budget"),
        flops=column("flops"),
        params=column("params"),
        tokens=column("tokens"),
        loss=column("loss"),
        run_id=np.arange(len(observations)).astype(str),
    )
