"""What a curve's own points say against it: the largest held out, each left out, and a break in the law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fit.curve import LEAST_X, UNKNOWNS, Curve, fit_curve
from fit.errors import UserError
from fit.statistics import Interval

LEAST_LEFT = {"power": 3, "offset": 4}
"""Points that a law without the largest still rests on."""
MOST_LEFT_OUT = 200
"""With more points than this none moves the law alone, and none is left out."""
DRAWS = 4999
"""Of noise, for the p-value of the best break."""
SEED = 0
MOST_CHANGE = 100.0
"""A change of the exponent; where it would take a larger one to show, the law has come down to its floor."""
ROUNDING = 1e-9
"""Points that lie this close to their law, as a share of the largest, say nothing of its noise."""


@dataclass(frozen=True)
class HoldOut:
    """The largest x, predicted by the law of the others."""

    held_out: int
    """How many of the largest x were left out."""
    x: float
    predicted: float
    found: float
    """The mean of y there."""


@dataclass(frozen=True)
class Break:
    """The best of all laws whose exponent changes once, at one of the points."""

    x: float
    change: float
    """Of the exponent, above x."""
    p_value: float
    """How often noise about an unbroken law has a best break as good as this one."""


@dataclass(frozen=True)
class CurveChecks:
    """As far as there are points for each."""

    hold_outs: tuple[HoldOut, ...]
    exponent_leave_one_out: Interval | None
    """The range of the exponent with each point left out."""
    best_break: Break | None


def check_curve(curve: Curve) -> CurveChecks:
    """Hold-outs of the largest x and of the largest two, leave-one-out, and the test for a break."""
    return CurveChecks(
        tuple(found for held_out in (1, 2) if (found := _hold_out(curve, held_out)) is not None),
        _leave_one_out(curve),
        best_break(curve),
    )


def _hold_out(curve: Curve, held_out: int) -> HoldOut | None:
    sizes = np.unique(curve.x)
    if len(sizes) - held_out < LEAST_LEFT[curve.form]:
        return None
    rest = _refit(curve, curve.x < sizes[-held_out])
    if rest is None:
        return None
    largest = float(sizes[-1])
    return HoldOut(held_out, largest, rest.value(largest), float(curve.y[curve.x == largest].mean()))


def _leave_one_out(curve: Curve) -> Interval | None:
    if not UNKNOWNS[curve.form] < len(curve.x) <= MOST_LEFT_OUT:
        return None
    everyone = np.arange(len(curve.x))
    if any(len(np.unique(curve.x[everyone != i])) < LEAST_X[curve.form] for i in everyone):
        return None
    exponents = [rest.exponent for i in everyone if (rest := _refit(curve, everyone != i)) is not None]
    return (min(exponents), max(exponents)) if len(exponents) == len(everyone) else None


def _refit(curve: Curve, kept: np.ndarray) -> Curve | None:
    """In the form that all points chose, unless what is left does not support its floor; None where it has no law."""
    sd = None if curve.sd is None else curve.sd[kept]
    try:
        return fit_curve(curve.x[kept], curve.y[kept], curve.form == "offset", curve.space, sd)
    except UserError:  # of x that hardly differ, say
        return None


def best_break(curve: Curve) -> Break | None:
    """The best of a hinge at each inner point, by its share of the squares (Andrews, Econometrica 61, 1993).

    The search for the best costs more than its two unknowns: the p-value is that of the same search in noise alone,
    which in log space is exact for any scale of the noise, and to first order about the curve elsewhere. None with too
    few points, or where they lie on the law to rounding.
    """
    z = np.log(curve.x) - np.mean(np.log(curve.x))
    knots = np.unique(z)[1:-1]
    unknowns = UNKNOWNS[curve.form]
    residuals, columns, law = _linearised(curve, z)
    if len(z) < unknowns + 2 or len(knots) < unknowns or np.max(np.abs(residuals)) < ROUNDING * curve.y.max():
        return None
    basis = np.linalg.qr(columns)[0]
    hinges = law[:, None] * np.maximum(z[:, None] - knots, 0.0)
    hinges -= basis @ (basis.T @ hinges)
    lengths = np.linalg.norm(hinges, axis=0)
    seen = MOST_CHANGE * lengths > np.linalg.norm(residuals)
    if not seen.any():
        return None
    knots, hinges, lengths = knots[seen], hinges[:, seen], lengths[seen]

    def shares(noise: np.ndarray) -> np.ndarray:
        """(r, knots) of the squares of (r, n) noise about the law that each hinge takes away."""
        left = noise - (noise @ basis) @ basis.T
        return np.asarray((left @ (hinges / lengths)) ** 2 / np.sum(left**2, axis=1, keepdims=True))

    found = shares(residuals[None])[0]
    i = int(np.argmax(found))
    noise = np.random.default_rng(SEED).standard_normal((DRAWS, len(z)))
    as_good = int(np.sum(shares(noise).max(axis=1) >= found[i]))
    return Break(
        x=float(np.exp(knots[i] + np.mean(np.log(curve.x)))),
        change=float(residuals @ hinges[:, i]) / float(lengths[i] ** 2),
        p_value=(1 + as_good) / (1 + DRAWS),
    )


def _linearised(curve: Curve, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) residuals, (n, p) derivatives of the curve and (n,) its part above the floor, scaled to count alike."""
    fit = np.array([curve.value(float(x)) for x in curve.x])
    law = fit - curve.floor
    residuals = curve.y - fit
    scale = np.ones_like(fit) if curve.sd is None else np.sqrt(np.mean(curve.sd**2)) / curve.sd
    if curve.space == "log":
        residuals, scale = fit * np.log(curve.y / fit), 1 / fit
    columns = [law, law * z] + ([np.ones_like(fit)] if curve.form == "offset" else [])
    return residuals * scale, np.stack(columns, axis=1) * scale[:, None], law * scale
