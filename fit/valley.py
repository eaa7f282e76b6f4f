"""One budget's runs along one axis, and the parabola of loss in log size through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from fit.errors import UserError
from fit.table import RunTable

Axis = Literal["tokens", "params"]
AXES: tuple[Axis, ...] = ("tokens", "params")
Status = Literal["ok", "edge-minimum", "opens-downward", "too-few-sizes"]
Coefficients = tuple[float, float, float]
Weights = Literal["equal", "near"]
WEIGHTS: tuple[Weights, ...] = ("equal", "near")
MIN_SIZES = 3
SAME_SIZE = 1e-3
"""Sizes that lie closer than this, in natural log, are one size."""
FLAT = 1e-12
"""A parabola that rises less than this share of the loss over its grid is flat to rounding."""
HUBER_TUNING = 1.345
"""Residuals beyond this many robust standard deviations are weighed down (Huber, Robust Statistics, 1981)."""
TUKEY_TUNING = 4.685
"""Residuals beyond this many robust standard deviations count nothing (Beaton and Tukey, 1974)."""
MAD_TO_SD = 1.4826
REWEIGHTINGS = 50
STANDS_STILL = 1e-8
"""Coefficients that move by a smaller share of the loss than this stand still."""


@dataclass(frozen=True)
class ParabolaOptions:
    """Which runs a parabola is fitted to, and how much each counts."""

    window: float | None = None
    """Only runs whose size is within this factor of that of the lowest loss; None for all."""
    weights: Weights = "equal"
    """`near`: tricube in log distance from the lowest loss, to the end of the window or of the grid."""
    robust: bool = False
    """Huber's and Tukey's weights on the residuals, so that one bad run does not move the minimum."""

    def __post_init__(self) -> None:
        if self.window is not None and not self.window > 1:
            raise UserError(f"the window is {self.window:g}; a factor above 1 is expected, such as 4")
        if self.weights not in WEIGHTS:
            raise UserError(f"the weights are '{self.weights}'; choose one of {', '.join(WEIGHTS)}")


@dataclass(frozen=True)
class Valley:
    """The parabola of one budget along one axis: loss = c0 + c1·z + c2·z², z = ln(size / centre)."""

    axis: Axis
    budget: float
    sizes: np.ndarray
    """(n,) tokens or params of the runs."""
    losses: np.ndarray
    """(n,)"""
    weight: np.ndarray
    """(n,) of each run; 0 outside the window."""
    centre: float
    coefficients: Coefficients
    r2: float
    """Of the runs that the parabola is fitted to."""
    status: Status
    optimum: float | None
    """Where the loss is lowest; None unless the parabola has its minimum inside the runs' range."""
    optimum_loss: float | None

    @property
    def interior(self) -> bool:
        return self.status == "ok"

    @property
    def used(self) -> np.ndarray:
        """(n,) which runs the parabola is fitted to."""
        return self.weight > 0

    @property
    def depth(self) -> float:
        """Nats between the minimum and the lower end of the parabola: what noise must not reach."""
        if self.optimum_loss is None:
            return 0.0
        sizes = self.sizes[self.used]
        ends = self.loss_at(np.array([sizes.min(), sizes.max()]))
        return float(ends.min() - self.optimum_loss)

    @cached_property
    def design(self) -> np.ndarray:
        """(n, 3) 1, z, z²"""
        z = np.log(self.sizes / self.centre)
        return np.stack([np.ones_like(z), z, z * z], axis=1)

    @cached_property
    def operator(self) -> np.ndarray:
        """(3, n) that takes losses to the coefficients, with the weights held as they are."""
        root = np.sqrt(self.weight)
        return np.asarray(np.linalg.pinv(self.design * root[:, None]) * root)

    def parabola_of(self, losses: np.ndarray) -> Coefficients:
        """The coefficients for (n,) other losses of the same runs."""
        c0, c1, c2 = (float(c) for c in self.operator @ losses)
        return c0, c1, c2

    def loss_at(self, sizes: np.ndarray) -> np.ndarray:
        """The parabola at (m,) sizes, in nats."""
        c0, c1, c2 = self.coefficients
        z = np.log(sizes / self.centre)
        return np.asarray(c0 + c1 * z + c2 * z * z)

    def minima_of(self, losses: np.ndarray) -> np.ndarray:
        """(r,) ln size of the minimum for each of (r, n) other losses of the same runs; NaN where not inside."""
        return self.minima_at(self.operator @ losses.T)

    def minima_at(self, coefficients: np.ndarray) -> np.ndarray:
        """(r,) ln size of the minimum of each of (3, r) parabolas; NaN where not inside the runs' range."""
        _, c1, c2 = coefficients
        z = np.log(self.sizes[self.used] / self.centre)
        with np.errstate(divide="ignore", invalid="ignore"):
            bottom = -c1 / (2 * c2)
        inside = (c2 > 0) & (bottom > z.min()) & (bottom < z.max())
        return np.where(inside, np.log(self.centre) + np.where(inside, bottom, 0.0), np.nan)

    def minimum_gradient(self, coefficients: Coefficients) -> np.ndarray:
        """(n,) derivative of ln optimum by each run's loss, about a parabola of these coefficients."""
        _, c1, c2 = coefficients
        operator = self.operator
        return np.asarray(-operator[1] / (2 * c2) + operator[2] * c1 / (2 * c2 * c2))

    def minimum_excess(self, coefficients: Coefficients, sd: float) -> float:
        """By how much noise of `sd` nats moves ln optimum on average, to second order.

        The minimum is -c1/(2·c2), a ratio: where c2 is uncertain and the grid off-centre, its mean lies further out.
        """
        _, c1, c2 = coefficients
        operator = self.operator
        covariance = sd**2 * operator[1:] @ operator[1:].T
        return float(covariance[0, 1] / (2 * c2**2) - c1 * covariance[1, 1] / (2 * c2**3))


def fit_valley(table: RunTable, budget: float, axis: Axis, options: ParabolaOptions | None = None) -> Valley:
    """Weighted least squares of loss on a parabola in ln(size), about the mean for the sake of conditioning."""
    options = options or ParabolaOptions()
    chosen = table.budget == budget
    sizes, losses = (table.tokens if axis == "tokens" else table.params)[chosen], table.loss[chosen]
    weight = _weights(sizes, losses, options)
    used = weight > 0
    nothing = (float("nan"),) * 3
    empty = Valley(
        axis=axis,
        budget=float(budget),
        sizes=sizes,
        losses=losses,
        weight=weight,
        centre=float(np.exp(np.mean(np.log(sizes[used])))),
        coefficients=nothing,
        r2=float("nan"),
        status="too-few-sizes",
        optimum=None,
        optimum_loss=None,
    )
    if _different(sizes[used]) < MIN_SIZES:
        return empty
    return _with_minimum(_robust(empty) if options.robust else _solved(empty))


def _solved(valley: Valley) -> Valley:
    return replace(valley, coefficients=valley.parabola_of(valley.losses))


def _robust(valley: Valley) -> Valley:
    """Huber's weights, then, at their scale, Tukey's, which give a run far off no weight at all (Yohai, 1987)."""
    prior = valley.weight
    found = _reweighted(_solved(valley), prior, _huber_weights)
    scale = _scale(found, prior)
    return _reweighted(found, prior, lambda residuals, _: _tukey_weights(residuals, scale))


def _reweighted(
    valley: Valley, prior: np.ndarray, weights: Callable[[np.ndarray, float], np.ndarray]
) -> Valley:
    """Weights of the residuals and their scale, over and over, until the parabola stands still."""
    found = valley
    for _ in range(REWEIGHTINGS):
        residuals = np.abs(found.losses - found.design @ np.asarray(found.coefficients))
        scale = _scale(found, prior)
        if scale <= FLAT * float(found.losses.mean()):
            break  # most runs lie on the parabola to rounding
        to = _solved(replace(found, weight=prior * weights(residuals, scale)))
        moved = max(abs(a - b) for a, b in zip(to.coefficients, found.coefficients, strict=True))
        found = to
        if moved < STANDS_STILL * float(found.losses.mean()):
            break
    return found


def _scale(valley: Valley, prior: np.ndarray) -> float:
    """Standard deviation by the median of absolute residuals."""
    residuals = np.abs(valley.losses - valley.design @ np.asarray(valley.coefficients))
    return MAD_TO_SD * float(np.median(residuals[prior > 0]))


def _huber_weights(residuals: np.ndarray, scale: float) -> np.ndarray:
    return np.minimum(1.0, HUBER_TUNING * scale / np.maximum(residuals, FLAT))


def _tukey_weights(residuals: np.ndarray, scale: float) -> np.ndarray:
    share = np.minimum(residuals / max(TUKEY_TUNING * scale, FLAT), 1.0)
    return np.asarray((1 - share**2) ** 2)


def _with_minimum(valley: Valley) -> Valley:
    """Its R², its status and, where that is inside the grid, its minimum."""
    c0, c1, c2 = valley.coefficients
    used = valley.used
    losses, weight = valley.losses[used], valley.weight[used]
    residuals = losses - valley.loss_at(valley.sizes[used])
    spread = float(weight @ (losses - np.average(losses, weights=weight)) ** 2)
    r2 = 1 - float(weight @ residuals**2) / spread if spread > 0 else float("nan")
    found = replace(valley, r2=r2)
    z = np.log(valley.sizes[used] / valley.centre)
    if c2 * np.ptp(z) ** 2 <= FLAT * losses.mean():
        return replace(found, status="opens-downward")
    bottom = -c1 / (2 * c2)
    if not z.min() < bottom < z.max():
        return replace(found, status="edge-minimum")
    optimum, lowest = valley.centre * float(np.exp(bottom)), c0 - c1 * c1 / (4 * c2)
    return replace(found, status="ok", optimum=optimum, optimum_loss=lowest)


def _weights(sizes: np.ndarray, losses: np.ndarray, options: ParabolaOptions) -> np.ndarray:
    """(n,) 1 or, near, (1 - distance³)³, zero outside the window (Cleveland, JASA 74, 1979)."""
    distance = np.abs(np.log(sizes / sizes[np.argmin(losses)]))
    reach = np.log(options.window) if options.window is not None else distance.max()
    inside = distance <= reach * (1 + 1e-12)
    if options.weights == "equal":
        return inside.astype(float)
    share = distance / (reach * 1.05) if reach > 0 else np.zeros_like(distance)
    return np.where(inside, (1 - np.minimum(share, 1) ** 3) ** 3, 0.0)


def _different(sizes: np.ndarray) -> int:
    """How many different sizes there are, MIN_SIZES at most; each is more than SAME_SIZE past the one before."""
    ascending, count, at = np.sort(np.log(sizes)), 0, 0
    while count < MIN_SIZES and at < len(ascending):
        count, at = count + 1, int(np.searchsorted(ascending, ascending[at] + SAME_SIZE, side="right"))
    return count
