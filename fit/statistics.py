"""Small statistics that several parts share: lines through many samples at once, percentiles, Student's t."""

from __future__ import annotations

import math

import numpy as np

Interval = tuple[float, float]
LEVEL = 0.95


def ols(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(r, 2) intercept and slope of each of (r, k) rows of y on (k,) x; points that are NaN are left out of their row.

    Rows with fewer than two points give NaN.
    """
    there = np.isfinite(y)
    weight = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
    filled = np.where(there, y, 0.0)
    mean_x, mean_y = weight @ x, np.sum(weight * filled, axis=1)
    offset = (x[None, :] - mean_x[:, None]) * there
    spread = np.sum(offset**2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(spread > 0, np.sum(offset * filled, axis=1) / spread, np.nan)
    return np.stack([mean_y - slope * mean_x, slope], axis=1)


def percentiles(draws: np.ndarray) -> Interval | None:
    """The central 95% of the draws that are numbers."""
    good = draws[np.isfinite(draws)]
    if not len(good):
        return None
    low, high = np.percentile(good, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def student(degrees_of_freedom: float) -> float:
    """Half the width of Student's central 95%, in standard errors; infinitely many degrees are the normal's."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, (1 + LEVEL) / 2))


def decades_beyond(value: float, low: float, high: float) -> float:
    """log10 of how far `value` lies outside the range, to either side; 0 inside."""
    return max(0.0, math.log10(value) - math.log10(high), math.log10(low) - math.log10(value))


def exp_interval(interval: Interval | None) -> Interval | None:
    """From the logarithm to the number."""
    if interval is None:
        return None
    with np.errstate(over="ignore"):  # of an interval over hundreds of decades the end is infinity
        return float(np.exp(interval[0])), float(np.exp(interval[1]))
