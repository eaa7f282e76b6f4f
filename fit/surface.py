"""One surface through all runs, L(N, D) = E + a·N^-alpha + b·D^-beta, and the optima that follow from it.

The third approach of Hoffmann et al. (arXiv 2203.15556, section 3.3). Besiroglu et al. (arXiv 2404.10102) found that
the published fit had been stopped early; here E, a and b are solved exactly for every pair of exponents
(`fit/varpro.py`), the pairs are scanned, and each low point of the scan is descended until it stands still.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fit.errors import UserError
from fit.varpro import (
    CHUNK,
    LARGEST_EXPONENT,
    SMALLEST_EXPONENT,
    Separable,
    fit_separable,
    scan_exponents,
)

Objective = Literal["squared", "huber"]
OBJECTIVES: tuple[Objective, ...] = ("squared", "huber")
UNKNOWNS = 5
ROUNDING = 1e-12
"""A size that adds a smaller share than this to the loss at the mean sizes adds nothing that fp64 could tell."""
STARTS = 6
"""Low points of the scan that are descended from."""
HUBER_DELTA = 1e-3
"""Of residuals in log loss (Hoffmann et al., section 3.3)."""
REWEIGHTINGS = 4
NEWTON_STEPS = 500
STANDS_STILL = 1e-10
"""A step whose every part is smaller than this, in ln alpha, ln beta and nats, changes nothing."""


@dataclass(frozen=True)
class Surface:
    """loss = floor + a·params^-alpha + b·tokens^-beta, in nats a token."""

    floor: float
    a: float
    b: float
    alpha: float
    beta: float

    def loss(self, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Nats a token, for arrays of one shape."""
        return np.asarray(
            self.floor
            + np.exp(np.log(self.a) - self.alpha * np.log(params))
            + np.exp(np.log(self.b) - self.beta * np.log(tokens))
        )

    @property
    def unknowns(self) -> np.ndarray:
        """(5,) floor, a, b, alpha, beta"""
        return np.array([self.floor, self.a, self.b, self.alpha, self.beta])

    @property
    def exponents(self) -> dict[str, float]:
        """Of the optima on C = k·N·D: a = beta/(alpha+beta) for params, alpha/(alpha+beta) for tokens."""
        total = self.alpha + self.beta
        return {"tokens": self.alpha / total, "params": self.beta / total}

    def optima(self, flops: float, flops_per_param_token: float = 6.0) -> dict[str, float]:
        """Params and tokens of the lowest loss on C = k·N·D (Hoffmann et al., eq. 4), and that loss."""
        total = self.alpha + self.beta
        log_ratio = (np.log(self.alpha * self.a) - np.log(self.beta * self.b)) / total
        log_product = np.log(flops) - np.log(flops_per_param_token)
        log_params = log_ratio + self.beta / total * log_product
        log_tokens = log_product - log_params
        params, tokens = float(np.exp(log_params)), float(np.exp(log_tokens))
        return {
            "params": params,
            "tokens": tokens,
            "loss": float(self.loss(np.array(params), np.array(tokens))),
        }


@dataclass(frozen=True)
class SurfaceFit:
    """A surface and what is known of how it was found."""

    surface: Surface | None
    """None where the losses do not fall with both sizes: one of a, b is zero, or an exponent at its bound."""
    reason: str
    """Why there is none; empty where there is one."""
    objective: Objective
    runs: int
    residual_sd: float
    """Nats; sqrt of the sum of squares over the degrees of freedom."""
    converged: bool


def fit_surface(
    params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, objective: Objective = "squared"
) -> SurfaceFit:
    """The surface of least squares in the loss, or of least Huber loss in its logarithm.

    params, tokens, loss: (n,), n > 5. UserError with fewer runs, for another objective, and where the three differ in
    length or hold what is no positive number.
    """
    _require_usable(params, tokens, loss, objective)
    if len(loss) <= UNKNOWNS:
        raise UserError(f"a surface has {UNKNOWNS} unknowns and there are {len(loss)} runs; train more")
    x, y = _about_mean(params), _about_mean(tokens)
    found = _lowest(x, y, loss)
    if objective == "huber":
        found = _huber(x, y, loss, found)
    residuals = loss - _fitted(found, x, y)
    surfaces, usable = surfaces_of(found, params, tokens)
    return SurfaceFit(
        surface=Surface(*(float(value) for value in surfaces[0])) if usable[0] else None,
        reason="" if usable[0] else _why_none(found),
        objective=objective,
        runs=len(loss),
        residual_sd=float(np.sqrt(residuals @ residuals / (len(loss) - UNKNOWNS))),
        converged=bool(found.converged[0]),
    )


def _require_usable(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, objective: str) -> None:
    if objective not in OBJECTIVES:
        raise UserError(f"the objective is '{objective}'; choose one of {', '.join(OBJECTIVES)}")
    if not len(params) == len(tokens) == len(loss):
        raise UserError(
            f"there are {len(params)} params, {len(tokens)} tokens and {len(loss)} losses; give one of each a run"
        )
    for name, values in (("params", params), ("tokens", tokens), ("loss", loss)):
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(bad):
            raise UserError(
                f"{name} of run {bad[0]} is {values[bad[0]]}; a positive, finite number is expected: leave the run out"
            )


def resampled_surfaces(
    params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, surface: Surface, resamples: int, seed: int
) -> np.ndarray:
    """(r, 5) unknowns of surfaces through `resamples` bootstrap samples of least squares, less those that are none.

    Residuals are drawn anew, at the scale of the noise (their sum of squares has n - 5 degrees of freedom), and each
    sample is fitted from the unknowns of `surface` until it stands still.
    """
    fitted = surface.loss(params, tokens)
    residuals = (loss - fitted) * np.sqrt(len(loss) / (len(loss) - UNKNOWNS))
    random = np.random.default_rng(seed)
    x, y, weight = _about_mean(params), _about_mean(tokens), np.ones_like(loss)
    start = np.array([[surface.alpha, surface.beta]])
    found = [np.empty((0, UNKNOWNS))]
    rows = max(1, CHUNK // len(loss))
    for at in range(0, resamples, rows):
        size = min(rows, resamples - at)
        samples = fitted + random.choice(residuals - residuals.mean(), size=(size, len(loss)))
        fits = fit_separable(x, y, samples, weight, np.repeat(start, size, axis=0))
        unknowns, usable = surfaces_of(fits, params, tokens)
        found.append(unknowns[usable])
    return np.concatenate(found)


def _lowest(x: np.ndarray, y: np.ndarray, loss: np.ndarray) -> Separable:
    """The lowest of the minima downhill of the low points of a scan; one fit."""
    weight = np.ones_like(loss)
    starts = scan_exponents(x, y, loss, weight, STARTS)
    fits = fit_separable(x, y, np.repeat(loss[None], len(starts), axis=0), weight, starts)
    return _row(fits, int(np.argmin(fits.squares)))


def surfaces_of(fits: Separable, params: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(r, 5) floor, a, b, alpha, beta of each fit in the units of params and tokens, and (r,) which are surfaces."""
    alpha, beta = fits.exponents.T
    floor, u, v = fits.coefficients.T
    with np.errstate(divide="ignore"):
        a = np.exp(np.log(u) + alpha * np.mean(np.log(params)))
        b = np.exp(np.log(v) + beta * np.mean(np.log(tokens)))
    margin = 1 + 1e-6
    inside = (fits.exponents > SMALLEST_EXPONENT * margin) & (fits.exponents < LARGEST_EXPONENT / margin)
    adds = fits.coefficients[:, 1:] > _least_added(fits.coefficients)
    usable = np.all(adds & inside, axis=1)
    return np.stack([floor, a, b, alpha, beta], axis=1), usable


def _huber(x: np.ndarray, y: np.ndarray, loss: np.ndarray, start: Separable) -> Separable:
    """Least Huber loss of the residuals in log loss, from the surface of least squares.

    First Huber's own iteration, each round solved exactly (Robust Statistics, 1981, section 7.8): about the present fit
    a residual in log loss is (response - fit)/fit with response = fit·(1 + ln loss - ln fit). It is sure but slow near
    the end, where damped Newton steps on all five unknowns take over.
    """
    found = start
    for _ in range(REWEIGHTINGS):
        fit = _fitted(found, x, y)
        residuals = np.log(loss / fit)
        weight = _huber_weight(residuals) / fit**2
        found = fit_separable(x, y, (fit * (1 + residuals))[None], weight, found.exponents)
    return _newton(x, y, loss, found)


def _newton(x: np.ndarray, y: np.ndarray, loss: np.ndarray, start: Separable) -> Separable:
    """Damped steps that never raise the Huber loss, until they change nothing; E, a and b stay at 0 or above.

    Curvature is that of the residuals inside HUBER_DELTA; those outside pull with a constant force. The damping is the
    reweighted iteration's own curvature, which is never too small.
    """
    low, high = np.log(SMALLEST_EXPONENT), np.log(LARGEST_EXPONENT)
    at = np.concatenate([np.log(start.exponents[0]), start.coefficients[0]])
    height, damping = _huber_loss(_residuals(at, x, y, loss)), 1.0
    for _ in range(NEWTON_STEPS):
        residuals, jacobian = _residuals(at, x, y, loss), _jacobian(at, x, y)
        slope = -jacobian.T @ np.clip(residuals, -HUBER_DELTA, HUBER_DELTA)
        inside = np.abs(residuals) <= HUBER_DELTA
        majorant = (jacobian * _huber_weight(residuals)[:, None]).T @ jacobian
        hessian = jacobian[inside].T @ jacobian[inside] + damping * majorant
        free = ~((at <= 0) & (slope > 0) & (np.arange(UNKNOWNS) > 1))  # a coefficient held at 0 is not moved
        step = np.zeros(UNKNOWNS)
        step[free] = -np.linalg.lstsq(hessian[np.ix_(free, free)], slope[free], rcond=1e-14)[0]
        to = at + step
        to[:2] = np.clip(to[:2], low, high)
        to[2:] = np.maximum(to[2:], 0.0)
        there = _huber_loss(_residuals(to, x, y, loss))
        still = float(np.max(np.abs(to - at))) < STANDS_STILL
        if there <= height:
            at, height, damping = to, there, max(damping / 4, 1e-9)
        else:
            damping *= 4
        if still or damping > 1e12:
            return Separable(np.exp(at[None, :2]), at[None, 2:], np.array([2 * height]), np.array([True]))
    return Separable(np.exp(at[None, :2]), at[None, 2:], np.array([2 * height]), np.array([False]))


def _fitted(found: Separable, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    alpha, beta = found.exponents[0]
    columns = np.stack([np.ones_like(x), np.exp(-alpha * x), np.exp(-beta * y)])
    return np.asarray(found.coefficients[0] @ columns)


def _residuals(at: np.ndarray, x: np.ndarray, y: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """(n,) ln loss - ln fit; at: ln alpha, ln beta, E, a, b."""
    alpha, beta = np.exp(at[:2])
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(loss / (at[2] + at[3] * np.exp(-alpha * x) + at[4] * np.exp(-beta * y))))


def _jacobian(at: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, 5) derivatives of ln fit."""
    alpha, beta = np.exp(at[:2])
    u, v = np.exp(-alpha * x), np.exp(-beta * y)
    fit = at[2] + at[3] * u + at[4] * v
    columns = [-at[3] * alpha * x * u, -at[4] * beta * y * v, np.ones_like(x), u, v]
    return np.asarray(np.stack(columns, axis=1) / fit[:, None])


def _huber_weight(residuals: np.ndarray) -> np.ndarray:
    return np.minimum(1.0, HUBER_DELTA / np.maximum(np.abs(residuals), 1e-300))


def _huber_loss(residuals: np.ndarray) -> float:
    size = np.abs(residuals)
    return float(np.sum(np.where(size <= HUBER_DELTA, size**2 / 2, HUBER_DELTA * (size - HUBER_DELTA / 2))))


def _row(fits: Separable, row: int) -> Separable:
    chosen = slice(row, row + 1)
    return Separable(
        fits.exponents[chosen], fits.coefficients[chosen], fits.squares[chosen], fits.converged[chosen]
    )


def _about_mean(sizes: np.ndarray) -> np.ndarray:
    logs = np.log(sizes)
    return np.asarray(logs - logs.mean())


def _least_added(coefficients: np.ndarray) -> np.ndarray:
    """(r, 1) nats that tell from none, of (r, 3) E, a and b at the mean sizes."""
    return np.asarray(ROUNDING * coefficients.sum(axis=1, keepdims=True))


def _why_none(found: Separable) -> str:
    least = float(_least_added(found.coefficients)[0, 0])
    for name, coefficient, exponent in zip(
        ("params", "tokens"), found.coefficients[0, 1:], found.exponents[0], strict=True
    ):
        if coefficient <= least:
            return f"the losses do not fall with {name}"
        if exponent >= LARGEST_EXPONENT / 1.001 or exponent <= SMALLEST_EXPONENT * 1.001:
            return f"the exponent of {name} runs to its bound of {exponent:.3g}: the runs do not determine it"
    return "its unknowns can't be told apart"
