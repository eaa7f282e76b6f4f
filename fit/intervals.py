"""How sure we are: the bootstrap over the runs of each valley, as array algebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fit.powerlaw import Interval, percentiles

if TYPE_CHECKING:
    from fit.isoflop import Valley

DEFAULT_RESAMPLES = 2000


@dataclass(frozen=True)
class Bootstrap:
    """Resampled optima."""

    draws: np.ndarray
    """(r, k) of the usable valleys; NaN where a resampled parabola has no minimum inside its grid."""
    optimum_ci95: list[Interval | None]
    """Of every valley, usable or not (None)."""


def bootstrap_laws(valleys: Sequence[Valley], resamples: int, seed: int) -> Bootstrap:
    """Resample the residuals of each valley and find its minimum anew.

    Residuals rather than runs: a grid has each size once or twice, and a resample of runs that lost its left arm would
    be another experiment. Each residual is divided by sqrt(1 - leverage), for least squares shrinks them (Davison and
    Hinkley, Bootstrap Methods and their Application, 1997, eq. 6.9).
    """
    random = np.random.default_rng(seed)
    columns: list[np.ndarray] = []
    intervals: list[Interval | None] = []
    for valley in valleys:
        if valley.optimum is None:
            intervals.append(None)
            continue
        optima = _resampled_optima(valley, resamples, random)
        columns.append(optima)
        intervals.append(percentiles(optima))
    draws = np.stack(columns, axis=1) if columns else np.empty((resamples, 0))
    return Bootstrap(draws, intervals)


def _resampled_optima(valley: Valley, resamples: int, random: np.random.Generator) -> np.ndarray:
    """(r,) minima; NaN where there is none inside the grid."""
    z = np.log(valley.sizes / valley.centre)
    design = np.stack([np.ones_like(z), z, z * z], axis=1)
    solve = np.linalg.pinv(design)
    fitted = design @ np.asarray(valley.coefficients)
    leverage = np.clip(np.einsum("ij,ji->i", design, solve), 0, 1 - 1e-9)
    residuals = (valley.losses - fitted) / np.sqrt(1 - leverage)
    if len(z) == 3:
        residuals = np.zeros_like(
            residuals
        )  # three runs lie on their parabola: they say nothing of their noise
    residuals = residuals - residuals.mean()
    losses = fitted + random.choice(residuals, size=(resamples, len(z)))
    _, c1, c2 = (losses @ solve.T).T
    with np.errstate(divide="ignore", invalid="ignore"):
        minimum = -c1 / (2 * c2)
    inside = (c2 > 0) & (minimum > z.min()) & (minimum < z.max())
    return np.where(inside, valley.centre * np.exp(np.where(inside, minimum, 0.0)), np.nan)
