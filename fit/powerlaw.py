"""Optima -> A, α: optimum = A·C^α by least squares in log space, with one headline interval and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fit.regression import Line, random_effects
from fit.statistics import Interval, exp_interval, ols, percentiles, student


@dataclass(frozen=True)
class Estimate:
    """A number by the plain law, and its 95% interval where there is one.

    corrected: of an optimum, the number that the interval is about: by the law whose budgets are weighted, less the
    grid's bias where that is known. None of a loss.
    """

    value: float
    ci95: Interval | None
    corrected: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What the laws say of a budget."""

    flops: float
    optima: dict[str, Estimate]
    """By axis."""
    loss: Estimate | None = None
    """The lowest loss there."""


@dataclass(frozen=True)
class BareLaw:
    """optimum = coefficient · C^exponent of one approach among others, and how sure its exponent is."""

    coefficient: float
    exponent: float
    exponent_ci95: Interval | None

    def value(self, flops: float) -> float:
        return float(np.exp(np.log(self.coefficient) + self.exponent * np.log(flops)))


@dataclass(frozen=True)
class PowerLaw:
    """optimum = coefficient · flops^exponent, by ordinary least squares: the law as papers publish it.

    The headline intervals are those of `line`: a random-effects regression of the same optima, less the grid's bias
    where a surface shows it, each weighted by what is known of it; `corrected_coefficient` and `corrected_exponent` are
    the law that they are about. `parts` says what moves the exponent, one cause at
    a time: `within`, the noise of single runs (bootstrap); `between`, the scatter of the budgets (Student's t of the
    plain regression); `leave_one_out`, the range with each budget left out; and others that `fit_isoflop` adds.
    """

    coefficient: float
    exponent: float
    line: Line
    """ln optimum on ln C, corrected."""
    shift: np.ndarray | None
    """(k,) ln(parabola's optimum / true optimum) that the fitted surface shows on this grid; None without a surface."""
    parts: Mapping[str, Interval | None]
    flops: np.ndarray
    """(k,) the budgets that it rests on."""
    optima: np.ndarray
    """(k,)"""
    without: np.ndarray | None
    """(k,) the exponent without each budget; None with two budgets."""
    draws: np.ndarray | None = field(repr=False)
    """(r, 2) ln A and α of each bootstrap draw."""
    covariance: np.ndarray = field(repr=False)
    """(k, k) known errors of ln optimum less shift; zero where nothing is known."""

    @property
    def leverage(self) -> np.ndarray:
        """(k,) the hat matrix's diagonal: by how much a budget's optimum pulls the plain line there, 1 at most."""
        offset = np.log(self.flops) - np.log(self.flops).mean()
        return np.asarray(1 / len(offset) + offset**2 / np.sum(offset**2))

    @property
    def exponent_ci95(self) -> Interval | None:
        return self.line.slope_ci95()

    @property
    def coefficient_ci95(self) -> Interval | None:
        return exp_interval(self.line.value_ci95(0.0))

    @property
    def corrected_exponent(self) -> float:
        return self.line.slope

    @property
    def corrected_coefficient(self) -> float:
        return float(np.exp(self.line.value(0.0)))

    def corrected_without(self, i: int) -> float:
        """The corrected exponent without budget i of three or more, by the same regression of the others."""
        rest = np.arange(len(self.flops)) != i
        y = np.log(self.optima) - (0.0 if self.shift is None else self.shift)
        known = self.covariance[np.ix_(rest, rest)]
        return random_effects(np.log(self.flops[rest]), y[rest], known, self.line.known_freedom).slope

    def value(self, flops: float) -> float:
        return float(np.exp(np.log(self.coefficient) + self.exponent * np.log(flops)))

    def predict(self, flops: float) -> Estimate:
        """The law at `flops`."""
        at = float(np.log(flops))
        corrected = float(np.exp(self.line.value(at)))
        return Estimate(self.value(flops), exp_interval(self.line.value_ci95(at)), corrected)


def fit_power_law(
    flops: np.ndarray,
    optima: np.ndarray,
    draws: np.ndarray | None = None,
    shift: np.ndarray | None = None,
    covariance: np.ndarray | None = None,
    known_freedom: float = np.inf,
) -> PowerLaw:
    """Least squares of ln optimum on ln C over (k,) budgets, k >= 2.

    draws: (r, k) optima of bootstrap resamples, NaN where a resample had none; None for no `within` interval. shift:
    (k,) the grid's bias in ln optimum. covariance: (k, k) known errors of ln optimum less shift; None for none.
    known_freedom: degrees of freedom from which their size was estimated.
    """
    x, y = np.log(flops), np.log(optima)
    log_coefficient, exponent = ols(x, y[None, :])[0]
    line_draws = ols(x, np.log(draws)) if draws is not None else None
    without = _without_each(x, y)
    known = np.zeros((len(x), len(x))) if covariance is None else covariance
    return PowerLaw(
        coefficient=float(np.exp(log_coefficient)),
        exponent=float(exponent),
        line=random_effects(x, y if shift is None else y - shift, known, known_freedom),
        shift=shift,
        parts={
            "within": percentiles(line_draws[:, 1]) if line_draws is not None else None,
            "between": _slope_t_interval(x, y, float(exponent)),
            "leave_one_out": None if without is None else (float(without.min()), float(without.max())),
        },
        flops=flops,
        optima=optima,
        without=without,
        draws=line_draws,
        covariance=known,
    )


def _slope_t_interval(x: np.ndarray, y: np.ndarray, slope: float) -> Interval | None:
    """None with two points, which always lie on a line."""
    if len(x) < 3:
        return None
    residuals = y - y.mean() - slope * (x - x.mean())
    scatter = np.sqrt(residuals @ residuals / (len(x) - 2))
    half = scatter / np.sqrt(np.sum((x - x.mean()) ** 2)) * student(len(x) - 2)
    return float(slope - half), float(slope + half)


def _without_each(x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    if len(x) < 3:
        return None
    rows = np.where(np.eye(len(x), dtype=bool), np.nan, y[None, :])
    return ols(x, rows)[:, 1]
