"""All budgets along one axis: their valleys, and the law of those that have a minimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fit.bias import BudgetCurve, GridBias, grid_bias
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
    bootstrap = bootstrap_laws(valleys, resamples, seed)
    smooth = None if surface is None else surface.loss(table.params, table.tokens)
    if smooth is not None and not shape_agrees(table, valleys, smooth):
        surface = smooth = None
    noise = run_noise(table, valleys, smooth)
    usable = [valley for valley in valleys if valley.optimum is not None]
    if len(usable) < 2:
        return AxisFit(valleys, bootstrap, noise, None)
    bias = None if surface is None else grid_bias(table, usable, surface, BudgetCurve.of(table))
    return AxisFit(valleys, bootstrap, noise, _law(table, usable, bootstrap.draws, bias, noise))


def _law(
    table: RunTable,
    usable: list[Valley],
    draws: np.ndarray | None,
    bias: GridBias | None,
    noise: RunNoise | None,
) -> PowerLaw:
    covariance = None
    if noise is not None:
        gradient = None if bias is None else bias.gradient
        covariance = known_covariance(table, usable, gradient, noise)
    return fit_power_law(
        np.array([valley.budget for valley in usable]),
        np.array([valley.optimum for valley in usable]),
        draws,
        None if bias is None else bias.shift,
        covariance,
    )
