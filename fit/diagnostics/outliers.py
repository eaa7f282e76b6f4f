"""Runs that lie far from the parabola of the others, and move its minimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fit.diagnostics.finding import Warning_
from fit.table import RunTable
from fit.valley import Valley

ERROR = 0.05
"""Of naming a run wrongly, over all runs of a clean table (Bonferroni)."""
NOTICEABLE = np.log(1.1)
"""An optimum that moves by less, in log size, does not matter."""
ON_ITSELF = 1e-6
"""A run whose leverage is closer to 1 than this has no others to be held against."""


def outlier_findings(table: RunTable, valleys: Sequence[Valley]) -> list[Warning_]:
    """The outliers of all `valleys`, of one axis."""
    count = sum(int(valley.used.sum()) for valley in valleys)
    return [finding for valley in valleys for finding in _of_valley(table, valley, count)]


def _of_valley(table: RunTable, valley: Valley, count: int) -> list[Warning_]:
    if valley.status == "too-few-sizes":
        return []
    distance, studentised, freedom = deleted_residuals(valley)
    names = table.run_id[table.budget == valley.budget]
    found = []
    for run in np.flatnonzero(np.abs(studentised) > _beyond(freedom, count)):
        without = _without(valley, int(run))
        if _moves(valley.optimum, without):
            found.append(
                Warning_(
                    "outlier-run",
                    f"{valley.axis}: {names[run]} lies {abs(distance[run]):.3g} nats "
                    f"{'above' if distance[run] > 0 else 'below'} the parabola of the others "
                    f"({abs(studentised[run]):.2g} standard errors), and leaving it out moves the optimum from "
                    f"{_shown(valley.optimum)} to {_shown(without)}: train it again, or find out what befell it",
                    valley.budget,
                    str(names[run]),
                )
            )
    return found


def deleted_residuals(valley: Valley) -> tuple[np.ndarray, np.ndarray, int]:
    """(n,) nats of each run above the parabola of the others, the same over its standard error, degrees of freedom.

    The externally studentised residual (Cook and Weisberg, Residuals and Influence in Regression, 1982, section 2.2):
    t with n - 4 degrees of freedom where the noise is Gaussian. 0 for runs outside the window, or that have no others
    to be held against.
    """
    distance, studentised = np.zeros(len(valley.losses)), np.zeros(len(valley.losses))
    used = valley.used
    freedom = int(used.sum()) - 4
    if freedom < 1:
        return distance, studentised, freedom
    leverage = np.einsum("ij,ji->i", valley.design, valley.operator)
    residuals = valley.losses - valley.design @ np.asarray(valley.coefficients)
    held = used & (leverage < 1 - ON_ITSELF)
    weight, left = valley.weight[held], 1 - leverage[held]
    squares = weight * residuals[held] ** 2
    variance = np.maximum((float(valley.weight @ residuals**2) - squares / left) / freedom, 0.0)
    distance[held] = residuals[held] / left
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sign(residuals[held]) * np.sqrt(squares / (variance * left))
    studentised[held] = np.nan_to_num(ratio, nan=0.0)
    return distance, studentised, freedom


def _beyond(freedom: int, count: int) -> float:
    """Student's quantile that one of `count` clean runs passes, either way, with probability ERROR."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - ERROR / (2 * count))) if freedom > 0 else np.inf


def _without(valley: Valley, run: int) -> float | None:
    """The optimum of the others."""
    weight = valley.weight.copy()
    weight[run] = 0
    log_size = float(replace(valley, weight=weight).minima_of(valley.losses[None])[0])
    return float(np.exp(log_size)) if np.isfinite(log_size) else None


def _moves(optimum: float | None, without: float | None) -> bool:
    if optimum is None or without is None:
        return optimum is not without
    return bool(abs(np.log(without / optimum)) > NOTICEABLE)


def _shown(optimum: float | None) -> str:
    return "none" if optimum is None else f"{optimum:.3g}"
