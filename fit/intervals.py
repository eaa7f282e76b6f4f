"""How sure we are: the bootstrap over the runs of each valley, as array algebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fit.powerlaw import Interval, percentiles, student

if TYPE_CHECKING:
    from fit.isoflop import Valley

DEFAULT_RESAMPLES = 2000
NORMAL = 1.959964
"""Half the width of the normal distribution's central 95%, in standard errors."""
SAYS_NOTHING = 1e-6
"""A run whose leverage is closer to 1 than this bends the parabola through itself, whatever its noise."""


@dataclass(frozen=True)
class Bootstrap:
    """Resampled optima."""

    draws: np.ndarray | None
    """(r, k) of the usable valleys; NaN where a resampled parabola has no minimum inside its grid. None where no valley
    has more runs than a parabola has coefficients, so that nothing is known of the noise."""
    optimum_ci95: list[Interval | None]
    """Of every valley, usable or not (None); widened for how little a few runs say of their noise."""
    lost: list[float]
    """Of every valley, the share of its draws that are NaN."""


def bootstrap_laws(valleys: Sequence[Valley], resamples: int, seed: int) -> Bootstrap:
    """Resample the residuals of each valley and find its minimum anew.

    Residuals rather than runs: a grid has each size once or twice, and a resample of runs that lost its left arm would
    be another experiment. Each residual is divided by sqrt(1 - leverage), for least squares shrinks them (Davison and
    Hinkley, Bootstrap Methods and their Application, 1997, eq. 6.9). A valley of three runs lies on its parabola and
    says nothing of its noise: it borrows the residuals of all others.
    """
    usable = [valley for valley in valleys if valley.optimum is not None]
    own = [_residuals(valley) for valley in usable]
    borrowed = np.concatenate([np.empty(0), *own])
    if not len(borrowed) or not resamples:
        return Bootstrap(None, [None] * len(valleys), [0.0] * len(valleys))
    random = np.random.default_rng(seed)
    columns = [
        _resampled_optima(valley, residuals if len(residuals) else borrowed, resamples, random)
        for valley, residuals in zip(usable, own, strict=True)
    ]
    freedom = [len(valley.sizes) - 3 for valley in usable]
    found = [
        (
            _widened(percentiles(draws), valley.optimum, own_freedom or sum(freedom)),
            float(np.mean(np.isnan(draws))),
        )
        for valley, draws, own_freedom in zip(usable, columns, freedom, strict=True)
    ]
    of_usable = iter(found)
    by_valley = [next(of_usable) if valley.optimum is not None else (None, 0.0) for valley in valleys]
    return Bootstrap(
        np.stack(columns, axis=1), [ci95 for ci95, _ in by_valley], [lost for _, lost in by_valley]
    )


def _widened(ci95: Interval | None, optimum: float | None, freedom: int) -> Interval | None:
    """`ci95` about `optimum`, in log size, by the ratio of Student's 95% to the normal's.

    Residuals of a few runs vary less, one sample with another, than noise does: at 7 runs the bare percentiles hold
    the truth 88 times in 100, at 4 runs 66. The law pools the freedom of all budgets and needs no widening.
    """
    if ci95 is None or optimum is None:
        return None
    stretch = student(freedom) / NORMAL
    low, high = (optimum * (end / optimum) ** stretch for end in ci95)
    return min(low, optimum), max(high, optimum)


def borrows_noise(valley: Valley) -> bool:
    """Whether its runs say nothing of their noise."""
    return valley.optimum is not None and not len(_residuals(valley))


def parabola_design(sizes: np.ndarray, centre: float) -> np.ndarray:
    """(n, 3): 1, z, z² with z = ln(size / centre)."""
    z = np.log(sizes / centre)
    return np.stack([np.ones_like(z), z, z * z], axis=1)


def _residuals(valley: Valley) -> np.ndarray:
    """(m,) centred, at the scale of the noise; of the runs that say something of it."""
    design = parabola_design(valley.sizes, valley.centre)
    leverage = np.einsum("ij,ji->i", design, np.linalg.pinv(design))
    free = leverage < 1 - SAYS_NOTHING
    residuals = (valley.losses - design @ np.asarray(valley.coefficients))[free] / np.sqrt(1 - leverage[free])
    return np.asarray(residuals - residuals.mean()) if len(residuals) else residuals


def _resampled_optima(
    valley: Valley, residuals: np.ndarray, resamples: int, random: np.random.Generator
) -> np.ndarray:
    """(r,) minima; NaN where there is none inside the grid."""
    design = parabola_design(valley.sizes, valley.centre)
    z = design[:, 1]
    fitted = design @ np.asarray(valley.coefficients)
    losses = fitted + random.choice(residuals, size=(resamples, len(z)))
    _, c1, c2 = (losses @ np.linalg.pinv(design).T).T
    with np.errstate(divide="ignore", invalid="ignore"):
        minimum = -c1 / (2 * c2)
    inside = (c2 > 0) & (minimum > z.min()) & (minimum < z.max())
    return np.where(inside, valley.centre * np.exp(np.where(inside, minimum, 0.0)), np.nan)
