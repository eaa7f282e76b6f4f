"""From loss to a task's accuracy: a sigmoid, so that a loss law predicts a benchmark.

The two steps of Llama 3 (arXiv 2407.21783, section 3.2.1, figure 4): the loss of the compute-optimal models as a law of
compute, and accuracy as a sigmoid of the loss, through models whose accuracy is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fit.errors import UserError
from fit.powerlaw import Estimate
from fit.profile import crossing
from fit.statistics import LEVEL, Interval, student

GENTLEST, STEEPEST = 0.5, 200.0
"""Of the slope times the range of the losses."""
GRID, ZOOM = 41, 17
REACH = 2
"""Cells to each side of the lowest that a zoom looks into, since midpoint and slope go together."""
FINE, COARSE = 14, 8
"""Rounds of zooming, each (ZOOM - 1)/(2·REACH)-fold: for the fit, and for each point of a profile."""
MOST_MODELS = 2000
ROUNDING = 1e-4
"""No accuracy is known to better than this."""


@dataclass(frozen=True)
class Link:
    """accuracy = floor + (ceiling - floor)/(1 + exp(-slope·(midpoint - loss))), by least squares in accuracy."""

    floor: float
    ceiling: float
    midpoint: float
    """Nats."""
    slope: float
    """A nat."""
    chance: float | None
    """The floor, where it was given rather than fitted."""
    loss: np.ndarray
    """(n,)"""
    accuracy: np.ndarray
    """(n,) shares from 0 to 1."""
    squares: float

    @property
    def freedom(self) -> int:
        return len(self.loss) - _unknowns(self.chance)

    @property
    def residual_sd(self) -> float:
        return float(np.sqrt(self.squares / self.freedom))

    def value(self, loss: float) -> float:
        share = float(_sigmoid(np.array([self.midpoint]), np.array([self.slope]), np.array([loss]))[0, 0])
        return self.floor + (self.ceiling - self.floor) * share

    def predict(self, loss: float) -> Estimate:
        """The accuracy at `loss`, and its 95% interval by the profile of the squares, between chance and 1."""
        least = max(self.squares, len(self.loss) * ROUNDING**2)
        bound = least * (1 + student(self.freedom) ** 2 / self.freedom)

        def excess(value: float) -> float:
            return _search(self.loss, self.accuracy, self.chance, (loss, value), COARSE).squares - bound

        centre, step = self.value(loss), float(np.sqrt(bound / len(self.loss)))
        lowest = 0.0 if self.chance is None else self.chance
        return Estimate(
            centre, (crossing(excess, centre, -step, lowest), crossing(excess, centre, step, 1.0))
        )

    def through(self, loss: Estimate) -> Estimate:
        """The accuracy of a predicted loss: from the low end at its high end to the high end at its low end.

        Each end of the one is taken at the worse end of the other, so two intervals of 95% hold more than that
        together, where their errors are independent. None where the loss has no interval.
        """
        ci95: Interval | None = None
        if loss.ci95 is not None:
            low, high = self.predict(loss.ci95[1]).ci95, self.predict(loss.ci95[0]).ci95
            assert low is not None
            assert high is not None
            ci95 = (low[0], high[1])
        return Estimate(self.value(loss.value), ci95)


def fit_link(loss: np.ndarray, accuracy: np.ndarray, chance: float | None = None) -> Link:
    """The sigmoid through (n,) models, its ceiling 1 at most, its floor `chance` or, without it, fitted from 0 up.

    UserError where an accuracy is no share, there are too few models, their accuracy does not fall with the loss by
    more than its scatter, or all of them lie on one side of the sigmoid's middle.
    """
    loss, accuracy = np.asarray(loss, dtype=float), np.asarray(accuracy, dtype=float)
    _require(loss, accuracy, chance)
    found = _search(loss, accuracy, chance, None, FINE)
    _require_fall(found, accuracy)
    low, high = float(loss.min()), float(loss.max())
    if not low < found.midpoint < high:
        side, wanted = ("below", "higher") if found.midpoint >= high else ("above", "lower")
        raise UserError(
            f"all losses, {low:.4g} to {high:.4g}, lie {side} the middle of the sigmoid, so the rest of it is a guess; "
            f"add models of {wanted} loss"
        )
    return found


def _unknowns(chance: float | None) -> int:
    return 4 if chance is None else 3


def _search(
    loss: np.ndarray,
    accuracy: np.ndarray,
    chance: float | None,
    held: tuple[float, float] | None,
    rounds: int,
) -> Link:
    """A scan of midpoint and slope, floor and ceiling solved exactly for each pair, and a zoom into its lowest point.

    held: a loss, and the accuracy that the sigmoid must have there.
    """
    reach = float(np.ptp(loss))
    midpoints = np.linspace(loss.min() - reach, loss.max() + reach, GRID)
    log_slopes = np.linspace(np.log(GENTLEST / reach), np.log(STEEPEST / reach), GRID)
    for zooms in range(rounds + 1):
        midpoint, log_slope = (axis.ravel() for axis in np.meshgrid(midpoints, log_slopes, indexing="ij"))
        share = _sigmoid(midpoint, np.exp(log_slope), loss)
        if held is None:
            floor, ceiling = _levels(share, accuracy, chance)
        else:
            at = _sigmoid(midpoint, np.exp(log_slope), np.array([held[0]]))[:, 0]
            floor, ceiling = _levels_through(share, accuracy, chance, at, held[1])
        fit = floor[:, None] + (ceiling - floor)[:, None] * share
        squares = np.nan_to_num(np.sum((accuracy - fit) ** 2, axis=1), nan=np.inf)
        i = int(np.argmin(squares))
        if zooms < rounds:
            row, column = divmod(i, len(log_slopes))
            midpoints, log_slopes = _zoomed(midpoints, row), _zoomed(log_slopes, column)
    return Link(
        floor=float(floor[i]),
        ceiling=float(ceiling[i]),
        midpoint=float(midpoint[i]),
        slope=float(np.exp(log_slope[i])),
        chance=chance,
        loss=loss,
        accuracy=accuracy,
        squares=float(squares[i]),
    )


def _zoomed(axis: np.ndarray, i: int) -> np.ndarray:
    return np.linspace(axis[max(i - REACH, 0)], axis[min(i + REACH, len(axis) - 1)], ZOOM)


def _sigmoid(midpoint: np.ndarray, slope: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """(m, n) from 1 at low to 0 at high loss."""
    return np.asarray(1 / (1 + np.exp(np.clip(slope[:, None] * (loss - midpoint[:, None]), -500.0, 500.0))))


def _levels(share: np.ndarray, accuracy: np.ndarray, chance: float | None) -> tuple[np.ndarray, np.ndarray]:
    """(m,) floor and ceiling of the least squares of each of (m, n) shares, 0 <= floor <= ceiling <= 1."""
    rest = 1 - share

    def ceiling_of(floor: np.ndarray) -> np.ndarray:
        above = np.sum(share * (accuracy - floor[:, None] * rest), axis=1)
        return np.clip(above / np.maximum(np.sum(share**2, axis=1), 1e-300), floor, 1.0)

    if chance is not None:
        floor = np.full(len(share), chance)
        return floor, ceiling_of(floor)
    mean = share.mean(axis=1, keepdims=True)
    spread = np.maximum(np.sum((share - mean) ** 2, axis=1), 1e-300)
    rise = np.maximum(np.sum((share - mean) * accuracy, axis=1) / spread, 0.0)
    floor = accuracy.mean() - rise * mean[:, 0]
    full = np.sum(rest * (accuracy - share), axis=1) / np.maximum(np.sum(rest**2, axis=1), 1e-300)
    floor = np.clip(np.where(floor + rise > 1, full, floor), 0.0, 1.0)
    return floor, ceiling_of(floor)


def _levels_through(
    share: np.ndarray, accuracy: np.ndarray, chance: float | None, at: np.ndarray, value: float
) -> tuple[np.ndarray, np.ndarray]:
    """The same where floor·(1 - at) + ceiling·at is `value`, (m,) at; NaN where no levels are in bounds."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if chance is not None:
            floor = np.full(len(share), chance)
            ceiling = (value - floor * (1 - at)) / at
        else:
            column = (1 - share) - share * ((1 - at) / at)[:, None]
            rest = accuracy - value * share / at[:, None]
            floor = np.sum(column * rest, axis=1) / np.sum(column**2, axis=1)
            floor = np.clip(floor, np.maximum(0.0, (value - at) / (1 - at)), value)
            # at a high loss the value is all but the floor, so that the ceiling as a difference would be rounding
            column = share - (1 - share) * (at / (1 - at))[:, None]
            rest = accuracy - value * (1 - share) / (1 - at)[:, None]
            top = np.sum(column * rest, axis=1) / np.sum(column**2, axis=1)
            top = np.clip(top, value, np.minimum(1.0, value / at))
            high = at < 0.5
            ceiling = np.where(high, top, (value - floor * (1 - at)) / at)
            floor = np.where(high, (value - top * at) / (1 - at), floor)
        return floor, np.where((ceiling < floor - 1e-12) | (ceiling > 1 + 1e-12), np.nan, ceiling)


def _require_fall(found: Link, accuracy: np.ndarray) -> None:
    """UserError unless the sigmoid is better than one accuracy for all, by an F-test at 5%."""
    from scipy.special import fdtrc

    flat = float(np.sum((accuracy - accuracy.mean()) ** 2))
    more = _unknowns(found.chance) - 1
    least = max(found.squares, len(accuracy) * ROUNDING**2)
    gain = max(flat - found.squares, 0.0)
    p_value = float(fdtrc(more, found.freedom, (gain / more) / (least / found.freedom)))
    if p_value > 1 - LEVEL or found.ceiling <= found.floor:
        raise UserError(
            f"accuracy, {accuracy.min():.3g} to {accuracy.max():.3g}, does not fall with the loss beyond its scatter "
            f"(F-test: p = {p_value:.2g}); add models whose losses differ more"
        )


def _require(loss: np.ndarray, accuracy: np.ndarray, chance: float | None) -> None:
    if chance is not None and not 0 <= chance < 1:
        raise UserError(f"--chance is {chance:g}; a share from 0 to below 1 is expected, such as 0.25")
    bad = ~((accuracy >= 0) & (accuracy <= 1))
    if bad.any():
        raise UserError(
            f"accuracy holds {accuracy[bad][0]:g}; a share from 0 to 1 is expected: divide percents by 100"
        )
    if not np.isfinite(loss).all():
        raise UserError(f"loss holds {loss[~np.isfinite(loss)][0]:g}; finite nats are expected")
    if len(loss) > MOST_MODELS:
        raise UserError(
            f"a sigmoid is fitted to {MOST_MODELS} models at most and there are {len(loss)}; average those of like loss"
        )
    least = _unknowns(chance) + 1
    if len(np.unique(loss)) < least:
        raise UserError(
            f"a sigmoid of {least - 1} unknowns needs {least} models of different loss and there are "
            f"{len(np.unique(loss))}; add models"
            + ("" if chance is not None else ", or fix its floor with --chance")
        )
