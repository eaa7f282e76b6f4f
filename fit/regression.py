"""A line through points whose errors are partly known: random-effects regression with a small-sample t interval.

The points are ln optima, one a budget. What is known of their errors (noise of the runs, shared uncertainty of a
correction) is a covariance; what is not (scatter of the budgets about the law) is one variance more, tau², estimated
from the points themselves as Paule and Mandel do (J. Res. NBS 87, 1982). The interval is that of Hartung and Knapp
(Statistics in Medicine 20, 2001) and Sidik and Jonkman (2002): Student's t with k - 2 degrees of freedom on the
weighted residuals, so that it holds whether the known errors or the scatter rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fit.statistics import Interval, student

LEAST_SHARE = 0.6
"""However well the points lie on their line, the interval is no narrower than this share of what the known errors
alone give: with few budgets a good line is partly luck. (At 1, four budgets without scatter would be covered 98.7
times in 100.)"""


@dataclass(frozen=True)
class Line:
    """y = intercept + slope·x, its errors, and how many points it rests on."""

    intercept: float
    slope: float
    x0: float
    """The abscissa about which intercept and covariance are given: y = intercept + slope·(x - x0)."""
    covariance: np.ndarray
    """(2, 2) of intercept at x0 and slope, already scaled by the weighted residuals."""
    known: np.ndarray
    """(2, 2) from the known errors alone."""
    points: int
    tau: float
    """Standard deviation of the scatter that the known errors do not explain."""
    known_freedom: float = np.inf
    """Degrees of freedom of the known errors' size."""

    def value(self, x: float) -> float:
        return float(self.intercept + self.slope * (x - self.x0))

    def slope_ci95(self) -> Interval | None:
        return self._interval(np.array([0.0, 1.0]), self.slope)

    def value_ci95(self, x: float) -> Interval | None:
        """Of the line's height at x, not of a new point."""
        return self._interval(np.array([1.0, x - self.x0]), self.value(x))

    def slope_error(self) -> tuple[float, float]:
        """Variance of the slope, and its degrees of freedom; that of `slope_ci95`."""
        return self._error(np.array([0.0, 1.0]))

    def value_error(self, x: float) -> tuple[float, float]:
        """Likewise of the line's height at x."""
        return self._error(np.array([1.0, x - self.x0]))

    def _interval(self, gradient: np.ndarray, centre: float) -> Interval | None:
        """With two points, which always lie on a line, the known errors alone; None where there are none."""
        variance, freedom = self._error(gradient)
        half = student(freedom) * np.sqrt(variance)
        return (float(centre - half), float(centre + half)) if half > 0 or self.points > 2 else None

    def _error(self, gradient: np.ndarray) -> tuple[float, float]:
        """With two points from the known errors alone, with the degrees of freedom of these."""
        known = float(gradient @ self.known @ gradient)
        if self.points == 2:
            return known, self.known_freedom
        freedom = self.points - 2
        least = (LEAST_SHARE * student(np.inf) / student(freedom)) ** 2 * known
        return max(float(gradient @ self.covariance @ gradient), least), freedom


def random_effects(
    x: np.ndarray, y: np.ndarray, covariance: np.ndarray, known_freedom: float = np.inf
) -> Line:
    """The line through (k,) points, k >= 2, whose known errors have (k, k) `covariance` (zero where nothing is known).

    Weighted by the inverse of covariance + tau²; tau² is zero where the known errors explain the residuals.
    known_freedom: degrees of freedom from which the size of `covariance` was estimated.
    """
    x0 = float(x.mean())
    design = np.stack([np.ones_like(x), x - x0], axis=1)
    freedom = len(x) - 2
    ols = np.linalg.lstsq(design, y, rcond=None)[0]
    spread = float(np.sum((y - design @ ols) ** 2))
    floor = 1e-12 * (np.trace(covariance) + spread) + 1e-300
    known = covariance + floor * np.eye(len(x))
    tau2 = _paule_mandel(design, y, known, freedom, spread)
    total = known + tau2 * np.eye(len(x))
    solution, inverse, misfit = _weighted(design, y, total)
    scale = misfit / freedom if freedom else 1.0
    weights = inverse @ design.T @ np.linalg.inv(total)
    return Line(
        intercept=float(solution[0]),
        slope=float(solution[1]),
        x0=x0,
        covariance=inverse * scale,
        known=weights @ covariance @ weights.T,
        points=len(x),
        tau=float(np.sqrt(tau2)),
        known_freedom=known_freedom,
    )


def line_to_dict(line: Line) -> dict[str, Any]:
    """All that its intervals follow from, for a fit's JSON, which has tau as `scatter`; infinite freedom as null."""
    return {
        "intercept": line.intercept,
        "slope": line.slope,
        "x0": line.x0,
        "covariance": line.covariance.tolist(),
        "known": line.known.tolist(),
        "points": line.points,
        "known_freedom": line.known_freedom if np.isfinite(line.known_freedom) else None,
    }


def line_from_dict(content: Mapping[str, Any], tau: float) -> Line:
    """The line again. KeyError, TypeError or ValueError where `content` is none."""
    covariance, known = (np.asarray(content[name], dtype=float) for name in ("covariance", "known"))
    freedom = content["known_freedom"]
    line = Line(
        intercept=float(content["intercept"]),
        slope=float(content["slope"]),
        x0=float(content["x0"]),
        covariance=covariance,
        known=known,
        points=int(content["points"]),
        tau=float(tau),
        known_freedom=np.inf if freedom is None else float(freedom),
    )
    numbers = [line.intercept, line.slope, line.x0, *covariance.ravel(), *known.ravel()]
    whole = covariance.shape == known.shape == (2, 2) and np.all(np.isfinite(numbers))
    if (
        not whole
        or min(*covariance.diagonal(), *known.diagonal()) < 0
        or line.points < 2
        or not line.known_freedom > 0
    ):
        raise ValueError
    return line


def _paule_mandel(design: np.ndarray, y: np.ndarray, known: np.ndarray, freedom: int, spread: float) -> float:
    """tau² at which the weighted sum of squared residuals is what it should be, its degrees of freedom; else 0."""
    eye = np.eye(len(y))
    if freedom == 0 or _weighted(design, y, known)[2] <= freedom:
        return 0.0
    from scipy.optimize import brentq

    def excess(tau2: float) -> float:
        return _weighted(design, y, known + tau2 * eye)[2] - freedom

    high = spread / freedom + float(np.trace(known))
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-14 * high, rtol=1e-10))


def _weighted(
    design: np.ndarray, y: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Generalised least squares: solution (2,), inverse of the normal matrix (2, 2), weighted squares."""
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), np.column_stack([design, y]))
    columns, target = whitened[:, :2], whitened[:, 2]
    inverse = np.linalg.inv(columns.T @ columns)
    solution = inverse @ columns.T @ target
    residuals = target - columns @ solution
    return solution, inverse, float(residuals @ residuals)
