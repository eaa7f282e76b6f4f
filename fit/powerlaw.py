"""Optima -> A, α: optimum = A·C^α by least squares in log space, with its intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Interval = tuple[float, float]
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval, where there is one."""

    value: float
    ci95: Interval | None


@dataclass(frozen=True)
class Prediction:
    """What the laws say of a budget, by axis."""

    flops: float
    optima: dict[str, Estimate]


@dataclass(frozen=True)
class PowerLaw:
    """optimum = coefficient · flops^exponent.

    `within` is the bootstrap over runs: the noise inside each valley. `between` is Student's t interval of the
    regression: the scatter of the optima about the line; it needs three budgets. The headline `exponent_ci95` is
    the wider of the two, for either alone can miss what the other sees. `leave_one_out` is the range of the exponent
    with each budget left out in turn: it shows whether one budget carries the slope.
    """

    coefficient: float
    exponent: float
    exponent_ci95: Interval | None
    coefficient_ci95: Interval | None
    within: Interval | None
    between: Interval | None
    leave_one_out: Interval | None
    flops: np.ndarray
    """(k,) the budgets that it rests on."""
    optima: np.ndarray
    """(k,)"""
    draws: np.ndarray | None
    """(r, 2) ln A and α of each bootstrap draw."""

    def value(self, flops: float) -> float:
        return float(np.exp(np.log(self.coefficient) + self.exponent * np.log(flops)))

    def predict(self, flops: float) -> Estimate:
        """The law at `flops`, with the wider of its two intervals."""
        return Estimate(self.value(flops), _exp(self._log_interval_at(np.log(flops))))

    def _log_interval_at(self, log_flops: float) -> Interval | None:
        centre = np.log(self.coefficient) + self.exponent * log_flops
        within = (
            percentiles(self.draws[:, 0] + self.draws[:, 1] * log_flops) if self.draws is not None else None
        )
        return wider(within, _t_interval(np.log(self.flops), np.log(self.optima), log_flops, centre))


def fit_power_law(flops: np.ndarray, optima: np.ndarray, draws: np.ndarray | None) -> PowerLaw:
    """Ordinary least squares of ln optimum on ln C over (k,) budgets, k >= 2.

    draws: (r, k) optima of bootstrap resamples, NaN where a resample had none; None for no `within` interval.
    """
    x, y = np.log(flops), np.log(optima)
    log_coefficient, exponent = ols(x, y[None, :])[0]
    line_draws = ols(x, np.log(draws)) if draws is not None else None
    within = percentiles(line_draws[:, 1]) if line_draws is not None else None
    between = _slope_t_interval(x, y, exponent)
    law = PowerLaw(
        coefficient=float(np.exp(log_coefficient)),
        exponent=float(exponent),
        exponent_ci95=wider(within, between),
        coefficient_ci95=None,
        within=within,
        between=between,
        leave_one_out=_leave_one_out(x, y),
        flops=flops,
        optima=optima,
        draws=line_draws,
    )
    coefficient_ci95 = _exp(law._log_interval_at(0.0))
    return PowerLaw(**{**law.__dict__, "coefficient_ci95": coefficient_ci95})


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


def wider(first: Interval | None, second: Interval | None) -> Interval | None:
    """The wider of two intervals, either of which may be missing."""
    there = [interval for interval in (first, second) if interval is not None]
    return max(there, key=lambda interval: interval[1] - interval[0]) if there else None


def _slope_t_interval(x: np.ndarray, y: np.ndarray, slope: float) -> Interval | None:
    scatter = _scatter(x, y)
    if scatter is None:
        return None
    half = scatter / np.sqrt(np.sum((x - x.mean()) ** 2)) * student(len(x) - 2)
    return float(slope - half), float(slope + half)


def _t_interval(x: np.ndarray, y: np.ndarray, at: float, centre: float) -> Interval | None:
    """Of the line's height at `at` (the mean, not a new observation)."""
    scatter = _scatter(x, y)
    if scatter is None:
        return None
    leverage = 1 / len(x) + (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2)
    half = scatter * np.sqrt(leverage) * student(len(x) - 2)
    return float(centre - half), float(centre + half)


def _scatter(x: np.ndarray, y: np.ndarray) -> float | None:
    """Residual standard deviation about the line; None with two points, which always lie on one."""
    if len(x) < 3:
        return None
    intercept, slope = ols(x, y[None, :])[0]
    residuals = y - intercept - slope * x
    return float(np.sqrt(residuals @ residuals / (len(x) - 2)))


def student(degrees_of_freedom: int) -> float:
    """Half the width of Student's central 95%, in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, (1 + LEVEL) / 2))


def _leave_one_out(x: np.ndarray, y: np.ndarray) -> Interval | None:
    if len(x) < 3:
        return None
    rows = np.where(np.eye(len(x), dtype=bool), np.nan, y[None, :])
    slopes = ols(x, rows)[:, 1]
    return float(slopes.min()), float(slopes.max())


def _exp(interval: Interval | None) -> Interval | None:
    return None if interval is None else (float(np.exp(interval[0])), float(np.exp(interval[1])))
