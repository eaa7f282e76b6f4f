"""Per budget a parabola of loss in log size, its minimum; over budgets a power law of the minima.

The second of the three approaches of Hoffmann et al. (arXiv 2203.15556, section 3.2), and that of Llama 3
(arXiv 2407.21783, section 3.2.1). Tokens and params are each fitted on their own axis; neither is derived from
the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fit.approaches import Approach, approaches, window_range
from fit.aside import by_reason
from fit.axis import AxisFit, fit_axis
from fit.backtest import Backtest, backtests
from fit.conventions import ConventionFit, fit_conventions
from fit.curves import Curve
from fit.diagnostics import Warning_, fit_warnings
from fit.errors import UserError
from fit.intervals import DEFAULT_RESAMPLES, RunNoise
from fit.losslaw import LossLaw, fit_loss_law
from fit.powerlaw import PowerLaw, Prediction
from fit.seeds import SeedNoise, seed_noise
from fit.surface import UNKNOWNS, SurfaceFit, fit_surface
from fit.table import RunTable, SetAside
from fit.tuning import tuned
from fit.unused import unused_runs
from fit.valley import AXES, MIN_SIZES, Axis, ParabolaOptions, Valley

LEAST_RESAMPLES = 10
"""Percentiles of fewer are no interval."""
MANY_SET_ASIDE = 0.1
"""Of all rows; a smaller share is hardly why a law is missing."""
MOST_BUDGETS = 1000
"""More than any experiment has: were each run's own FLOPs taken for its budget, a fit would be busy for hours."""


@dataclass(frozen=True)
class Budget:
    """All that was found at one budget."""

    flops: float
    runs: int
    tokens: Valley
    params: Valley
    optimum_ci95: dict[str, tuple[float, float] | None]
    lost: dict[str, float]
    """By axis, the share of resamples whose parabola has no minimum inside the grid."""

    def valley(self, axis: Axis) -> Valley:
        return self.tokens if axis == "tokens" else self.params


@dataclass(frozen=True)
class IsoflopFit:
    """What an isoFLOP experiment says. `fit/result.py` writes it as contract 2."""

    table: RunTable
    """Of a cell trained under several learning rates or batches, the best."""
    options: ParabolaOptions
    budgets: tuple[Budget, ...]
    laws: dict[str, PowerLaw | None]
    """By axis; None where fewer than two budgets have a usable minimum."""
    conventions: tuple[ConventionFit, ...]
    """The laws under each way to count that the table has columns for; empty where it has none."""
    surface: SurfaceFit | None
    """Through all runs; None with too few of them."""
    loss_law: LossLaw
    """Of the lowest loss of each usable budget, along tokens."""
    approaches: tuple[Approach, ...]
    run_noise: RunNoise | None
    predictions: tuple[Prediction, ...]
    seed_noise: SeedNoise | None
    backtests: tuple[Backtest, ...]
    warnings: tuple[Warning_, ...]
    set_aside: tuple[SetAside, ...]
    """Every run that a law does without, and why: those that the table sets aside, and those of unusable budgets."""
    resamples: int


def fit_isoflop(
    table: RunTable,
    *,
    predict: Sequence[float] = (),
    options: ParabolaOptions | None = None,
    curves: Sequence[Curve] = (),
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> IsoflopFit:
    """Fit every budget of `table` and the laws over them, with 95% intervals.

    predict: FLOPs at which optimal tokens and params, and the lowest loss, are wanted. options: which runs a parabola
    is fitted to, and how much each counts. Of a cell trained under several learning rates or batches the best counts
    (`fit/tuning.py`). curves: learning curves, whose envelope is one approach more. resamples: of the bootstrap,
    LEAST_RESAMPLES or more, or 0 for none, seeded by `seed`; the headline intervals need none.
    UserError for an argument that can't be used, where no budget has three sizes, fewer than two have a usable minimum
    in tokens, or there are more than MOST_BUDGETS.
    """
    options = options or ParabolaOptions()
    _require_arguments(predict, resamples, seed)
    _require_few_budgets(table)
    trained, table = table, tuned(table)
    surface = fit_surface(table.params, table.tokens, table.loss) if len(table) > UNKNOWNS else None
    through = None if surface is None else surface.surface
    axes = {
        axis: fit_axis(table, axis, surface=through, options=options, resamples=resamples, seed=seed)
        for axis in AXES
    }
    _require_law(table, axes["tokens"])
    found: dict[Axis, PowerLaw] = {
        axis: _with_parts(fitted.law, table, axis, options) for axis, fitted in axes.items() if fitted.law
    }
    laws: dict[str, PowerLaw | None] = {axis: found.get(axis) for axis in AXES}
    budgets = tuple(_budget(table, float(flops), i, axes) for i, flops in enumerate(table.budgets))
    noise = seed_noise(table)
    loss_law = _loss_law(axes["tokens"])
    return IsoflopFit(
        table=table,
        options=options,
        budgets=budgets,
        laws=laws,
        conventions=fit_conventions(table, laws, surface=through, options=options, predict=predict),
        surface=surface,
        loss_law=loss_law,
        approaches=approaches(table, found, surface, options, resamples, seed, curves),
        run_noise=axes["tokens"].noise,
        predictions=tuple(
            Prediction(at, {axis: law.predict(at) for axis, law in found.items()}, loss_law.predict(at))
            for at in map(float, predict)
        ),
        seed_noise=noise,
        backtests=backtests({axis: fitted.valleys for axis, fitted in axes.items()}),
        warnings=tuple(
            fit_warnings(
                table,
                budgets,
                laws,
                trained=trained,
                surface=surface,
                seed_sd=noise.sd if noise else None,
                run_sd={axis: fitted.noise.sd if fitted.noise else None for axis, fitted in axes.items()},
            )
        ),
        set_aside=unused_runs(table, budgets),
        resamples=resamples,
    )


def _loss_law(tokens: AxisFit) -> LossLaw:
    usable = [valley for valley in tokens.valleys if valley.optimum_loss is not None]
    return fit_loss_law(
        np.array([valley.budget for valley in usable]), np.array([valley.optimum_loss for valley in usable])
    )


def _with_parts(law: PowerLaw, table: RunTable, axis: Axis, options: ParabolaOptions) -> PowerLaw:
    """What else moves the exponent: the window, and the grid."""
    grid = None
    if law.shift is not None:
        grid = min(law.exponent, law.line.slope), max(law.exponent, law.line.slope)
    parts = {**law.parts, "window": window_range(table, axis, options, law), "grid": grid}
    return replace(law, parts=parts)


def _budget(table: RunTable, flops: float, i: int, axes: dict[Axis, AxisFit]) -> Budget:
    return Budget(
        flops=flops,
        runs=int((table.budget == flops).sum()),
        tokens=axes["tokens"].valleys[i],
        params=axes["params"].valleys[i],
        optimum_ci95={axis: fitted.bootstrap.optimum_ci95[i] for axis, fitted in axes.items()},
        lost={axis: fitted.bootstrap.lost[i] for axis, fitted in axes.items()},
    )


def _require_arguments(predict: Sequence[float], resamples: int, seed: int) -> None:
    for flops in predict:
        if not (flops > 0 and math.isfinite(flops)):
            raise UserError(
                f"the budget to predict at is {flops}; a positive, finite number of FLOPs is expected"
            )
    if resamples != 0 and resamples < LEAST_RESAMPLES:
        raise UserError(f"resamples is {resamples}; give {LEAST_RESAMPLES} or more, or 0 for no bootstrap")
    if seed < 0:
        raise UserError(f"the seed is {seed}; give 0 or more")


def _require_few_budgets(table: RunTable) -> None:
    if len(table.budgets) > MOST_BUDGETS:
        raise UserError(
            f"'{table.source}' has {len(table.budgets)} budgets among {len(table)} runs, more than the "
            f"{MOST_BUDGETS} that are expected; name the nominal budgets' column with --column budget=NAME, or leave "
            f"it out of the table, so that budgets are found as clusters of log FLOPs"
        )


def _require_law(table: RunTable, tokens: AxisFit) -> None:
    """UserError where there is none in tokens."""
    if all(valley.status == "too-few-sizes" for valley in tokens.valleys):
        raise UserError(
            f"'{table.source}' has {len(table.budgets)} budgets, none of them with {MIN_SIZES} different sizes; a "
            f"parabola needs {MIN_SIZES}: train more sizes a budget, or name the budgets' column with "
            f"--column budget=NAME{_also_set_aside(table)}"
        )
    if tokens.law is None:
        states = "; ".join(f"{valley.budget:.3g} FLOPs: {valley.status}" for valley in tokens.valleys)
        raise UserError(
            f"'{table.source}' has fewer than 2 budgets with a minimum inside their grid ({states}); a law needs 2: "
            f"extend the grids past their edges or add budgets{_also_set_aside(table)}"
        )


def _also_set_aside(table: RunTable) -> str:
    """Where that may be why there is no law."""
    rows = len(table) + len(table.set_aside)
    if len(table.set_aside) < MANY_SET_ASIDE * rows:
        return ""
    reason, items = max(by_reason(table.set_aside).items(), key=lambda group: len(group[1]))
    return f"; {len(table.set_aside)} of {rows} runs are set aside, {len(items)} of them because: {reason}"
