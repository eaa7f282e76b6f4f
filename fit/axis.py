"""All budgets along one axis: their valleys, and the law of those that have a minimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fit.bias import BudgetCurve, grid_bias
from fit.intervals import Bootstrap, RunNoise, bootstrap_laws, known_covariance, run_noise, shape_agrees
from fit.powerlaw import PowerLaw, fit_power_law
from fit.surface import Surface
from fit.table import RunTable
from fit.valley import Axis, ParabolaOptions, Valley, fit_valley


@dataclass(frozen=True)
class AxisFit:
    """What the runs say of the optimum along one axis."""

    valleys: tuple[Valley, ...]
    """One a budget, ascending."""
    bootstrap: Bootstrap
    noise: RunNoise | None
    law: PowerLaw | None
    """None where fewer than two budgets have a usable minimum."""


def fit_axis(
    table: RunTable,
    axis: Axis,
    *,
    surface: Surface | None,
    options: ParabolaOptions | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> AxisFit:
    """Parabolas along `axis` and the law over their minima.

    surface: that of all runs, by which the grid's bias is known; None where there is none.
    """
    valleys = tuple(fit_valley(table, float(budget), axis, options) for budget in table.budgets)
    smooth = None if surface is None else surface.loss(table.params, table.tokens)
    if smooth is not None and not shape_agrees(table, valleys, smooth):
        surface = smooth = None
    rest = table.loss if smooth is None else table.loss - smooth
    own = [rest[table.budget == valley.budget] for valley in valleys]
    bootstrap = bootstrap_laws(valleys, resamples, seed, own)
    noise = run_noise(table, valleys, smooth)
    usable = [valley for valley in valleys if valley.optimum is not None]
    if len(usable) < 2:
        return AxisFit(valleys, bootstrap, noise, None)
    if surface is None or smooth is None:
        return AxisFit(valleys, bootstrap, noise, _plain_law(table, usable, bootstrap.draws, noise))
    law = _corrected_law(table, usable, bootstrap.draws, noise, surface, smooth)
    return AxisFit(valleys, bootstrap, noise, law)


def _plain_law(
    table: RunTable, usable: list[Valley], draws: np.ndarray | None, noise: RunNoise | None
) -> PowerLaw:
    covariance = None
    if noise is not None:
        own = [valley.coefficients for valley in usable]
        covariance = known_covariance(table, usable, own, None, noise)
    return fit_power_law(_budgets(usable), _optima(usable), draws, None, covariance, _freedom(noise))


def _corrected_law(
    table: RunTable,
    usable: list[Valley],
    draws: np.ndarray | None,
    noise: RunNoise | None,
    surface: Surface,
    smooth: np.ndarray,
) -> PowerLaw:
    """Less what a parabola on this grid, and the noise of the runs, make of the surface's optimum.

    smooth: (n,) the surface's losses of the runs.
    """
    bias = grid_bias(table, usable, surface, BudgetCurve.of(table))
    if bias is None:
        return _plain_law(table, usable, draws, noise)
    shift, covariance = bias.shift, None
    if noise is not None:
        expected = [valley.parabola_of(smooth[table.budget == valley.budget]) for valley in usable]
        excess = [valley.minimum_excess(one, noise.sd) for valley, one in zip(usable, expected, strict=True)]
        shift = shift + np.array(excess)
        covariance = known_covariance(table, usable, expected, bias.gradient, noise)
    return fit_power_law(_budgets(usable), _optima(usable), draws, shift, covariance, _freedom(noise))


def _freedom(noise: RunNoise | None) -> float:
    return np.inf if noise is None else noise.degrees_of_freedom


def _budgets(valleys: list[Valley]) -> np.ndarray:
    return np.array([valley.budget for valley in valleys])


def _optima(valleys: list[Valley]) -> np.ndarray:
    return np.array([valley.optimum for valley in valleys])
