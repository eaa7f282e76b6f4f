"""y = floor + height·u^-alpha through points: the least squares, and the intervals that its profile gives.

Variable projection (Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973) in one dimension: for every alpha the floor and
the height are solved exactly, with neither below zero, and alpha is searched. A fit whose height at one place is held,
floor + height·u0^-alpha = value, has one unknown less and is solved in the same way; the values whose squares stay
within Student's bound of the least are the interval (Bates and Watts, Nonlinear Regression Analysis, 1988, chapter 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fit.statistics import Interval, student

Form = Literal["power", "offset"]
FLATTEST, STEEPEST = 1e-4, 50.0
"""Of alpha times ln(largest x / smallest x): flatter is a line in ln x, steeper a step after the smallest."""
GRID = 81
ZOOM = 13
ROUNDS = 12
"""At most, of zooming into the grid, each (ZOOM - 1)/2-fold."""
SETTLED = 1e-3
"""A point of a profile is known to this share of what the bound allows."""
ITERATIONS = 20
STANDS_STILL = 1e-12
ROUNDING = 1e-11
"""Residuals below this share of y are rounding."""
WIDENINGS = 200


@dataclass(frozen=True)
class Points:
    """(n,) points: ln of x over its geometric mean, y > 0, and how much each counts."""

    log_u: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    relative: bool
    """Whether residuals are those of ln y rather than of y."""

    @property
    def span(self) -> float:
        return float(np.ptp(self.log_u))

    @property
    def least_squares(self) -> float:
        """No sum of squares is known to better than this."""
        scale = np.ones_like(self.y) if self.relative else self.y
        return float(self.weight @ (ROUNDING * scale) ** 2)


@dataclass(frozen=True)
class Solution:
    """The best of its form, and its weighted sum of squares."""

    alpha: float
    floor: float
    height: float
    squares: float

    def value(self, log_u: float) -> float:
        return self.floor + self.height * float(_powers(np.array([self.alpha]), np.array([log_u]))[0, 0])


@dataclass(frozen=True)
class _Held:
    """A place, ln u, and the height that a fit must have there; the place at infinity holds the floor."""

    log_u: float
    value: float


def best(points: Points, form: Form) -> Solution:
    """The least squares over every alpha of the form: positive for `offset`, of either sign for `power`."""
    return _line(points) if form == "power" and points.relative else _search(points, form, None, 0.0)


def _line(points: Points) -> Solution:
    """A plain law in ln y is a line."""
    design = np.stack([np.ones_like(points.y), -points.log_u], axis=1) * np.sqrt(points.weight)[:, None]
    target = np.log(points.y) * np.sqrt(points.weight)
    log_height, alpha = np.linalg.lstsq(design, target, rcond=None)[0]
    squares = float(np.sum((target - design @ np.array([log_height, alpha])) ** 2))
    return Solution(float(alpha), 0.0, float(np.exp(log_height)), squares)


def value_interval(points: Points, form: Form, found: Solution, log_u: float, freedom: int) -> Interval:
    """95% of the height at `log_u`; of the floor at infinity. Ends at zero where the squares stay within the bound."""
    bound = _bound(points, found, freedom)
    centre = found.floor if np.isinf(log_u) else found.value(log_u)

    settled = SETTLED * (bound - found.squares)

    def excess(value: float) -> float:
        return _search(points, form, _Held(log_u, value), settled).squares - bound

    scale = max(centre, 1e-3 * float(points.y.min())) if points.relative else 1.0
    step = scale * float(np.sqrt(bound / len(points.y)))
    return crossing(excess, centre, -step, 0.0), crossing(excess, centre, step, np.inf)


def exponent_interval(points: Points, form: Form, found: Solution, freedom: int) -> Interval:
    """95% of alpha; for `offset` an end is 0 or infinite where the squares stay within the bound up to it."""
    bound = _bound(points, found, freedom)
    steepest = STEEPEST / points.span
    lowest = -steepest if form == "power" else FLATTEST / points.span

    def excess(alpha: float) -> float:
        return float(_solve(points, form, np.array([alpha]), None)[0][0]) - bound

    step = 0.05 * max(abs(found.alpha), 0.01 / points.span)  # a widening costs little here
    low = crossing(excess, found.alpha, -step, lowest)
    high = crossing(excess, found.alpha, step, steepest)
    return (
        low if low > lowest else (-np.inf if form == "power" else 0.0),
        high if high < steepest else np.inf,
    )


def _bound(points: Points, found: Solution, freedom: int) -> float:
    return max(found.squares, points.least_squares) * (1 + student(freedom) ** 2 / freedom)


def crossing(excess: Callable[[float], float], centre: float, step: float, end: float) -> float:
    """Where `excess` turns positive, from `centre` by growing steps; `end` where it does not before that."""
    from scipy.optimize import brentq

    if (
        excess(centre) > 0
    ):  # so far from the points that rounding hides the curve itself: nothing is known there
        return end
    # a centre of next to nothing, as an accuracy far above all losses, is not searched to its last digit
    exact = max(1e-4 * min(abs(step), abs(centre) or abs(step)), 1e-12 * abs(step))
    inside, there = centre, centre
    for _ in range(WIDENINGS):
        there = there + step
        if (there - end) * np.sign(step) >= 0:
            if excess(end) <= 0:
                return end
            there = end
        if excess(there) > 0:
            return float(brentq(excess, inside, there, xtol=exact, rtol=1e-12))
        inside, step = there, 1.6 * step
    return float(np.sign(step) * np.inf)


def _search(points: Points, form: Form, held: _Held | None, settled: float) -> Solution:
    """A scan of alpha, even in its logarithm, and a zoom into its lowest point until it falls by no more than that."""
    alphas = np.geomspace(FLATTEST, STEEPEST, GRID) / points.span
    if form == "power":
        alphas = np.concatenate([-alphas[::-1], alphas])
    for zooms in range(ROUNDS + 1):
        with np.errstate(
            divide="ignore", invalid="ignore", over="ignore"
        ):  # far from the points at steep alpha
            squares, floor, height = _solve(points, form, alphas, held)
        i = int(np.argmin(squares))
        low, high = max(i - 1, 0), min(i + 1, len(alphas) - 1)
        if zooms == ROUNDS or max(squares[low], squares[high]) <= squares[i] + settled:
            break
        alphas = np.linspace(alphas[low], alphas[high], ZOOM)
    return Solution(float(alphas[i]), float(floor[i]), float(height[i]), float(squares[i]))


def _solve(
    points: Points, form: Form, alphas: np.ndarray, held: _Held | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(m,) squares, floor and height of the best at each of (m,) alphas.

    Residuals of ln y are those of y to first order about a fit, weighted by its inverse square (as in
    `fit/surface.py`), so each round is a least squares in y again.
    """
    columns = _powers(alphas, points.log_u)
    at = None if held is None else _powers(alphas, np.array([held.log_u]))[:, 0]
    value = 0.0 if held is None else held.value
    y = np.broadcast_to(points.y, columns.shape)
    weight = np.broadcast_to(points.weight, columns.shape)
    if not points.relative:
        floor, height = _linear(form, columns, y, weight, at, value)
        fit = floor[:, None] + height[:, None] * columns
        return np.sum(weight * (y - fit) ** 2, axis=1), floor, height
    floor, height = _linear(form, columns, y, weight / y**2, at, value)
    for _ in range(ITERATIONS):
        fit = np.maximum(floor[:, None] + height[:, None] * columns, 1e-300)
        before = fit
        response = fit * np.maximum(1 + np.log(y / fit), 1e-3)  # a far point must not turn the fit negative
        floor, height = _linear(form, columns, response, weight / fit**2, at, value)
        fit = np.maximum(floor[:, None] + height[:, None] * columns, 1e-300)
        if np.max(np.abs(np.log(fit / before))) < STANDS_STILL:
            break
    squares = np.sum(weight * np.log(y / fit) ** 2, axis=1)
    return np.nan_to_num(squares, nan=np.inf), floor, height


def _linear(
    form: Form, columns: np.ndarray, y: np.ndarray, weight: np.ndarray, at: np.ndarray | None, value: float
) -> tuple[np.ndarray, np.ndarray]:
    """(m,) floor and height, neither below zero, of the least squares of (m, n) y on (m, n) columns."""
    nothing = np.zeros(len(columns))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if at is not None and form == "power":
            return nothing, value / at
        if at is not None:
            offset = columns - at[:, None]
            height = np.sum(weight * offset * (y - value), axis=1) / np.sum(weight * offset**2, axis=1)
            height = np.clip(np.nan_to_num(height), 0.0, np.where(at > 0, value / at, np.inf))
            floor = value - np.where(at > 0, height * at, 0.0)
            # far below the points the height there dwarfs the floor, which as a difference would be rounding
            far, share = at > 1, columns / at[:, None]
            rest = np.sum(weight * (1 - share) * (y - value * share), axis=1)
            least = np.clip(np.nan_to_num(rest / np.sum(weight * (1 - share) ** 2, axis=1)), 0.0, value)
            return np.where(far, least, floor), np.where(far, (value - least) / at, height)
        alone = np.sum(weight * columns * y, axis=1) / np.sum(weight * columns**2, axis=1)
        if form == "power":
            return nothing, alone
        total = np.sum(weight, axis=1)
        mean, mean_y = np.sum(weight * columns, axis=1) / total, np.sum(weight * y, axis=1) / total
        offset = columns - mean[:, None]
        height = np.sum(weight * offset * y, axis=1) / np.sum(weight * offset**2, axis=1)
        floor = mean_y - height * mean
    return (
        np.where(height < 0, mean_y, np.maximum(floor, 0.0)),
        np.where(height < 0, 0.0, np.where(floor < 0, alone, height)),
    )


def _powers(alphas: np.ndarray, log_u: np.ndarray) -> np.ndarray:
    """(m, n) u^-alpha, kept within what squares can hold."""
    with np.errstate(invalid="ignore"):
        return np.exp(np.clip(-alphas[:, None] * log_u, -300.0, 300.0)) * np.isfinite(log_u)
