"""By how much a parabola on this very grid misses the minimum of the valley it is laid through.

A valley of L = E + a·N^-alpha + b·D^-beta is steeper on one side. A parabola through a grid that is off-centre, or
whose centre drifts with C, therefore finds a minimum beside the true one, by a distance that changes with C: the
exponent is bent. The fitted surface, noise-free, on the runs' own sizes shows by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fit.surface import UNKNOWNS, Surface
from fit.table import RunTable
from fit.valley import Axis, Valley

STEP = 1e-4
"""Of the central differences, relative to the unknown."""
FLOOR = 2
"""Where the irreducible loss stands among the unknowns."""
SINGULAR = 1e-10
NEWTON_STEPS = 20
NEWTON_DONE = 1e-12
SMALLEST_SLOPE = 1e-6
SAME_COUNT = 1e-6
"""Runs whose ln(FLOPs per param and token) differ by less count by one rule, as 6ND is."""
CURVATURE_OF_COUNT = 2
"""Degree, in ln N, of the FLOPs per param and token: 6 by 6ND, more at small models by an exact count."""


@dataclass(frozen=True)
class GridBias:
    """ln(parabola's optimum) - ln(surface's optimum) of each valley, and how it hangs on the runs' losses."""

    shift: np.ndarray
    """(k,)"""
    gradient: np.ndarray
    """(k, n) derivative of `shift` by the loss of each run of the table, through the fitted surface."""


@dataclass(frozen=True)
class BudgetCurve:
    """ln(FLOPs per param and token) as a polynomial of ln params: the curve on which a budget's runs lie."""

    centre: float
    """ln params about which the polynomial is."""
    coefficients: np.ndarray
    """Of the polynomial, the highest power first."""

    @classmethod
    def of(cls, table: RunTable) -> BudgetCurve:
        """Through the runs of `table`."""
        x = np.log(table.params)
        count = np.log(table.flops) - x - np.log(table.tokens)
        centre = float(x.mean())
        degree = min(CURVATURE_OF_COUNT, len(np.unique(x)) - 1) if np.ptp(count) > SAME_COUNT else 0
        return cls(centre, np.polyfit(x - centre, count, degree))

    def log_optima(self, surfaces: np.ndarray, log_flops: np.ndarray) -> dict[Axis, np.ndarray]:
        """(r, k) ln params and ln tokens of the lowest loss of each of (r, 5) `surfaces` at each of (k,) budgets.

        Newton's method on the logarithm of the ratio of the loss's two slopes, which is nearly a line in ln params.
        """
        count = self.coefficients
        slope, bend = np.polyder(count), np.polyder(count, 2)
        _, a, b, alpha, beta = (column[:, None] for column in surfaces.T)
        offset = np.log(alpha * a) - np.log(beta * b)
        x = (offset + beta * (log_flops - np.polyval(count, 0.0))) / (alpha + beta)
        for _ in range(NEWTON_STEPS):
            z = x - self.centre
            bent = np.maximum(1 + np.polyval(slope, z), SMALLEST_SLOPE)
            ratio = offset - alpha * x + beta * (log_flops - np.polyval(count, z) - x) - np.log(bent)
            step = ratio / (alpha + beta * bent + np.polyval(bend, z) / bent)
            x = x + step
            if np.max(np.abs(step)) < NEWTON_DONE:
                break
        return {"params": x, "tokens": log_flops - np.polyval(count, x - self.centre) - x}


def grid_bias(
    table: RunTable, valleys: Sequence[Valley], surface: Surface, curve: BudgetCurve
) -> GridBias | None:
    """The shift of each of `valleys`, all of one axis; None where a parabola through `surface` has no minimum.

    Each parabola keeps its runs and weights; the losses are those of the surface. Derivatives by the losses go through
    the surface's five unknowns, linearised about the fit.
    """
    unknowns = _unknowns(surface, table)
    steps = STEP * np.maximum(np.abs(unknowns), 1.0) * np.eye(UNKNOWNS)
    shift = _shift(unknowns, table, valleys, curve)
    if not np.all(np.isfinite(shift)):
        return None
    free = [i for i in range(UNKNOWNS) if i != FLOOR or surface.floor > 0]
    by_unknown = [
        (
            _shift(unknowns + steps[i], table, valleys, curve)
            - _shift(unknowns - steps[i], table, valleys, curve)
        )
        / (2 * steps[i, i])
        for i in free
    ]
    losses = [
        (_losses(unknowns + steps[i], table) - _losses(unknowns - steps[i], table)) / (2 * steps[i, i])
        for i in free
    ]
    by_unknown_KU, losses_NU = np.stack(by_unknown, axis=1), np.stack(losses, axis=1)
    size = np.linalg.norm(losses_NU, axis=0)
    gradient = (by_unknown_KU / size) @ np.linalg.pinv(losses_NU / size, rcond=SINGULAR)
    return GridBias(shift, gradient) if np.all(np.isfinite(gradient)) else None


def _unknowns(surface: Surface, table: RunTable) -> np.ndarray:
    """(5,) ln alpha, ln beta, floor, and the two terms at the mean run, in nats: all of the size of one."""
    log_params, log_tokens = np.mean(np.log(table.params)), np.mean(np.log(table.tokens))
    return np.array(
        [
            np.log(surface.alpha),
            np.log(surface.beta),
            surface.floor,
            np.exp(np.log(surface.a) - surface.alpha * log_params),
            np.exp(np.log(surface.b) - surface.beta * log_tokens),
        ]
    )


def _surface(unknowns: np.ndarray, table: RunTable) -> Surface:
    alpha, beta = np.exp(unknowns[:FLOOR])
    log_params, log_tokens = np.mean(np.log(table.params)), np.mean(np.log(table.tokens))
    floor, at_params, at_tokens = unknowns[FLOOR:]
    return Surface(
        floor=float(floor),
        a=float(np.exp(np.log(at_params) + alpha * log_params)),
        b=float(np.exp(np.log(at_tokens) + beta * log_tokens)),
        alpha=float(alpha),
        beta=float(beta),
    )


def _losses(unknowns: np.ndarray, table: RunTable) -> np.ndarray:
    return _surface(unknowns, table).loss(table.params, table.tokens)


def _shift(
    unknowns: np.ndarray, table: RunTable, valleys: Sequence[Valley], curve: BudgetCurve
) -> np.ndarray:
    losses = _losses(unknowns, table)
    budgets = np.array([valley.budget for valley in valleys])
    true = curve.log_optima(_surface(unknowns, table).unknowns[None], np.log(budgets))[valleys[0].axis][0]
    found = [valley.minima_of(losses[None, table.budget == valley.budget])[0] for valley in valleys]
    return np.array(found) - true
