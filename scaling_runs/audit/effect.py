"""From changes of loss at two sizes and two budgets to how far the exponent would move. Pure.

The formula. Near its minimum a budget's loss is L(x) = L* + c·(x - x*)², x = ln size, with c from the sweep's parabola.
Another recipe changes it by d(x), which is measured at two sizes and so is known to its slope, or tilt,
t = (d(x2) - d(x1)) / (x2 - x1). The minimum of L + d is where 2c·(x - x*) + t = 0: it moves by -t/(2c). Tokens at
fixed compute are another axis with a curvature and a tilt of its own, and the same formula. An exponent is the slope of
the minima in ln C, so that it moves by the difference of two budgets' shifts over ln of their ratio; where the shift is
no straight line in ln C, this is its slope between those two.

What this leaves out: how d bends between the two sizes. A change of loss that is the same at all sizes moves nothing,
and neither does a tilt that is the same, in units of c, at both budgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fit.statistics import Interval, student
from fit.valley import AXES, Axis, Valley

MAX_MOVE = 0.02
"""An exponent that moves by less is as good as unmoved: the 95% interval of a small sweep is no narrower than ±0.02
(isoflop_small's is ±0.018), so that more than this would make the recipe the larger error."""
DRAWS = 4000
"""Of the noise, which leave 1 to 2% of error in a standard error."""
ONE_SD = (15.865525, 84.134475)
"""Percentiles a standard deviation to either side of a normal's mean; few far draws do not move them."""
Verdict = Literal["robust", "moves", "open"]


@dataclass(frozen=True)
class Noise:
    """Of a single run's loss."""

    sd: float
    """Nats."""
    degrees_of_freedom: float
    source: Literal["seeds", "residuals"]
    """Equal cells with other seeds, or what the parabolas leave."""


@dataclass(frozen=True)
class AuditedBudget:
    """Two sizes of one budget under the rule, and changed. Index 0 is the smaller model, 1 the larger."""

    flops: float
    valleys: Mapping[Axis, Valley]
    """The rule's runs, with their parabolas, in one order along both axes."""
    sizes: Mapping[Axis, np.ndarray]
    """(2,) along each axis."""
    rule: np.ndarray
    """(2, n) that takes the valley's n losses to the rule's mean loss at each size."""
    changed: Mapping[str, np.ndarray]
    """(2,) mean losses, by perturbation; those with a loss at both sizes."""
    runs: Mapping[str, np.ndarray]
    """(2,) how many runs each mean is of."""

    def changes(self, name: str) -> np.ndarray:
        """(2,) nats by which the perturbation is above the rule."""
        losses = next(iter(self.valleys.values())).losses
        return np.asarray(self.changed[name] - self.rule @ losses)

    @property
    def usable(self) -> tuple[Axis, ...]:
        """Axes along which the parabola has its minimum inside the grid."""
        return tuple(axis for axis in AXES if self.valleys[axis].interior)


@dataclass(frozen=True)
class Move:
    """Of an exponent."""

    value: float
    se: float | None
    """By the noise of the runs alone; None where that is not known."""
    degrees_of_freedom: float

    @property
    def half_width(self) -> float | None:
        """Of the 95% interval."""
        return None if self.se is None else student(self.degrees_of_freedom) * self.se

    @property
    def ci95(self) -> Interval | None:
        half = self.half_width
        return None if half is None else (self.value - half, self.value + half)

    @property
    def verdict(self) -> Verdict:
        """`robust`: within ±MAX_MOVE, noise and all. `moves`: past it, noise and all. `open`: noise hides which."""
        if self.ci95 is None:
            return "open"
        low, high = self.ci95
        if max(-low, high) <= MAX_MOVE:
            return "robust"
        return "moves" if low > MAX_MOVE or high < -MAX_MOVE else "open"


@dataclass(frozen=True)
class Effect:
    """What a change of recipe does to both budgets and to the exponents."""

    changes: np.ndarray
    """(2, 2) nats: by budget, lower first, and size, smaller first."""
    shifts: Mapping[Axis, np.ndarray]
    """(2,) ln of the factor by which each budget's optimum moves; axes whose parabolas are usable at both."""
    moves: Mapping[Axis, Move]


def minimum_shift(change: np.ndarray, sizes: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """(…,) move of ln optimum where losses change by (…, 2) nats at (2,) sizes of a valley of (…,) curvature."""
    tilt = (change[..., 1] - change[..., 0]) / np.log(sizes[1] / sizes[0])
    return np.asarray(-tilt / (2 * curvature))


def exponent_move(shifts: np.ndarray, flops: tuple[float, float]) -> np.ndarray:
    """(…,) move of the exponent where ln optimum moves by (2, …) at the two budgets."""
    return np.asarray((shifts[1] - shifts[0]) / np.log(flops[1] / flops[0]))


def effects(
    low: AuditedBudget, high: AuditedBudget, noise: Noise | None
) -> tuple[dict[str, Effect], Effect | None]:
    """By perturbation that has its losses at both budgets, what it does; and what it does to take at each size the
    best of these and the rule, None without any.

    Standard errors are the spread of DRAWS experiments whose runs, the parabola's included, have `noise` added to what
    was measured. Runs of one seed share their data, and so part of their noise: this takes each to have its own, and
    errs to the safe side. The least of several noisy losses is lower than the best recipe's: the draws spread over
    that choice too, but where settings lie within the noise the best of them is a matter of luck.
    """
    names = [name for name in low.changed if name in high.changed]
    drawn = [_Drawn.of(budget, names, noise, seed) for seed, budget in enumerate((low, high))]
    axes = tuple(axis for axis in AXES if axis in low.usable and axis in high.usable)

    def effect(changes: tuple[np.ndarray, np.ndarray]) -> Effect:
        shifts = {
            axis: np.stack([one.shift(axis, change) for one, change in zip(drawn, changes, strict=True)])
            for axis in axes
        }
        moves = {
            axis: _move(exponent_move(shift, (low.flops, high.flops)), noise)
            for axis, shift in shifts.items()
        }
        measured = np.stack([change[0] for change in changes])
        return Effect(measured, {axis: shift[:, 0] for axis, shift in shifts.items()}, moves)

    found = {name: effect((drawn[0].changes[name], drawn[1].changes[name])) for name in names}
    best = effect((drawn[0].best(), drawn[1].best())) if names else None
    return found, best


@dataclass(frozen=True)
class _Drawn:
    """A budget as measured (row 0), and as other draws of the noise would have it (rows 1 to r)."""

    budget: AuditedBudget
    curvature: dict[Axis, np.ndarray]
    """(1 + r,)"""
    changes: dict[str, np.ndarray]
    """(1 + r, 2)"""

    @classmethod
    def of(cls, budget: AuditedBudget, names: list[str], noise: Noise | None, seed: int) -> _Drawn:
        random = np.random.default_rng(seed)
        sd, rows = (noise.sd, 1 + DRAWS) if noise is not None else (0.0, 1)

        def draw(measured: np.ndarray, error: np.ndarray | float) -> np.ndarray:
            """(1 + r, …) losses"""
            errors = error * random.standard_normal((rows, *measured.shape))
            errors[0] = 0.0
            return np.asarray(measured + errors)

        losses = draw(budget.valleys[AXES[0]].losses, sd)
        rule = losses @ budget.rule.T
        changes = {name: draw(budget.changed[name], sd / np.sqrt(budget.runs[name])) - rule for name in names}
        curvature = {axis: losses @ budget.valleys[axis].operator[2] for axis in budget.usable}
        return cls(budget, curvature, changes)

    def best(self) -> np.ndarray:
        """(1 + r, 2) change to the lowest loss of each size; 0 where that is the rule's."""
        return np.minimum(0.0, np.min(list(self.changes.values()), axis=0))

    def shift(self, axis: Axis, change: np.ndarray) -> np.ndarray:
        """(1 + r,)"""
        return minimum_shift(change, self.budget.sizes[axis], self.curvature[axis])


def _move(values: np.ndarray, noise: Noise | None) -> Move:
    """values: (1 + r,) as measured and as drawn."""
    if noise is None:
        return Move(float(values[0]), None, np.inf)
    low, high = np.percentile(values[1:], ONE_SD)
    return Move(float(values[0]), float(high - low) / 2, noise.degrees_of_freedom)
