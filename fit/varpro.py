"""Separable least squares for L = E + a·N^-alpha + b·D^-beta: E, a, b >= 0 solved exactly for any pair of exponents.

Variable projection (Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973) in Kaufman's form (BIT 15, 1975): three of the
five unknowns enter linearly, so the search runs over two only, and each of its points is as good as it can be. All is
batched: `r` samples of losses on the same `n` runs are fitted at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

SUPPORTS = tuple(subset for size in (3, 2, 1) for subset in combinations(range(3), size))
"""Which of E, a, b are not zero."""
SMALLEST_EXPONENT, LARGEST_EXPONENT = 0.01, 4.0
SCAN = np.geomspace(0.02, 2.0, 36)
"""Exponents of the first look, at which all pairs are tried."""
STEPS = 300
DONE = 1e-9
"""A step in the logarithms of the exponents that is smaller than this changes nothing."""
CHUNK = 1_000_000
"""Numbers held in one (r, n) array of a batch, at most."""
SINGULAR = 1e-13
"""Columns whose scaled products have a smaller determinant than this are one column."""


@dataclass(frozen=True)
class Separable:
    """`r` fits of loss = coefficients @ (1, e^(-alpha·x), e^(-beta·y)), x = ln N and y = ln D about their means."""

    exponents: np.ndarray
    """(r, 2) alpha, beta"""
    coefficients: np.ndarray
    """(r, 3), never negative"""
    squares: np.ndarray
    """(r,) weighted sum of squared residuals"""
    converged: np.ndarray
    """(r,) whether the search stood still, rather than ran out of steps"""


def scan_exponents(
    x: np.ndarray, y: np.ndarray, loss: np.ndarray, weight: np.ndarray, best: int
) -> np.ndarray:
    """(m, 2), m <= best: the lowest local minima among all pairs in SCAN, found by matrix products alone.

    x, y: (n,) ln params and ln tokens about their means. loss, weight: (n,).
    """
    u, v = np.exp(-np.outer(SCAN, x)), np.exp(-np.outer(SCAN, y))
    uw, vw = u * weight, v * weight
    size = len(SCAN)
    gram = np.empty((size, size, 3, 3))
    gram[..., 0, 0] = weight.sum()
    gram[..., 0, 1] = gram[..., 1, 0] = uw.sum(1)[:, None]
    gram[..., 0, 2] = gram[..., 2, 0] = vw.sum(1)[None, :]
    gram[..., 1, 1], gram[..., 2, 2] = np.sum(uw * u, 1)[:, None], np.sum(vw * v, 1)[None, :]
    gram[..., 1, 2] = gram[..., 2, 1] = uw @ v.T
    moment = np.empty((size, size, 3))
    moment[..., 0], moment[..., 1], moment[..., 2] = weight @ loss, (uw @ loss)[:, None], (vw @ loss)[None, :]
    _, gain = _nonnegative(gram.reshape(-1, 3, 3), moment.reshape(-1, 3))
    return _lowest(-gain.reshape(size, size), best)


def fit_separable(
    x: np.ndarray, y: np.ndarray, losses: np.ndarray, weight: np.ndarray, start: np.ndarray
) -> Separable:
    """The minimum of each of (r, n) `losses` that lies downhill of (r, 2) exponents `start`.

    Levenberg and Marquardt's steps in the logarithms of the exponents, held between SMALLEST_EXPONENT and
    LARGEST_EXPONENT. x, y, weight: (n,) as for `scan_exponents`.
    """
    rows = max(1, CHUNK // len(x))
    parts = [
        _descend(x, y, losses[at : at + rows], weight, start[at : at + rows])
        for at in range(0, len(losses), rows)
    ]
    return Separable(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("exponents", "coefficients", "squares", "converged")
        )
    )


def _descend(
    x: np.ndarray, y: np.ndarray, losses: np.ndarray, weight: np.ndarray, start: np.ndarray
) -> Separable:
    low, high = np.log(SMALLEST_EXPONENT), np.log(LARGEST_EXPONENT)
    at = np.clip(np.log(start), low, high)
    here = _project(x, y, losses, weight, np.exp(at))
    damping = np.full(len(at), 1e-3)
    busy = np.arange(len(at))
    converged = np.zeros(len(at), dtype=bool)
    for _ in range(STEPS):
        if not len(busy):
            break
        hessian, slope = here.normal_equations(x, y, weight, np.exp(at[busy]), busy)
        # a coordinate that its bound stops from going downhill is not moved
        stuck = ((at[busy] <= low) & (slope > 0)) | ((at[busy] >= high) & (slope < 0))
        step = _damped_step(hessian, slope, damping[busy], stuck)
        to = np.clip(at[busy] + step, low, high)
        there = _project(x, y, losses[busy], weight, np.exp(to))
        better = there.squares <= here.squares[busy]
        still = np.max(np.abs(to - at[busy]), axis=1) < DONE
        moved = busy[better]
        at[moved] = to[better]
        here.take(moved, there, better)
        damping[busy] = np.where(better, np.maximum(damping[busy] / 5, 1e-12), damping[busy] * 6)
        done = still | (damping[busy] > 1e12)
        converged[busy[done]] = True
        busy = busy[~done]
    return Separable(np.exp(at), here.coefficients, here.squares, converged)


@dataclass
class _Projection:
    """What is known at a pair of exponents."""

    coefficients: np.ndarray
    residuals: np.ndarray
    """(r, n)"""
    squares: np.ndarray

    def take(self, rows: np.ndarray, other: _Projection, chosen: np.ndarray) -> None:
        self.coefficients[rows] = other.coefficients[chosen]
        self.residuals[rows] = other.residuals[chosen]
        self.squares[rows] = other.squares[chosen]

    def normal_equations(
        self, x: np.ndarray, y: np.ndarray, weight: np.ndarray, exponents: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(m, 2, 2) and (m, 2): Kaufman's approximation, the part of the derivatives that E, a, b can't follow."""
        columns = _columns(x, y, exponents)
        c, residuals = self.coefficients[rows], self.residuals[rows]
        # d loss / d ln alpha = -a · alpha · x · e^(-alpha·x)
        derivatives = np.stack(
            [
                -(c[:, 1] * exponents[:, 0])[:, None] * x * columns[:, 1],
                -(c[:, 2] * exponents[:, 1])[:, None] * y * columns[:, 2],
            ],
            axis=1,
        )
        weighted = columns * weight
        gram = weighted @ columns.transpose(0, 2, 1)
        cross = weighted @ derivatives.transpose(0, 2, 1)
        explained = _solve_active(gram, cross, c > 0)
        free = derivatives - explained.transpose(0, 2, 1) @ columns
        hessian = (free * weight) @ free.transpose(0, 2, 1)
        return hessian, -np.einsum("rin,rn->ri", free, residuals * weight)


def _project(
    x: np.ndarray, y: np.ndarray, losses: np.ndarray, weight: np.ndarray, exponents: np.ndarray
) -> _Projection:
    columns = _columns(x, y, exponents)
    weighted = columns * weight
    gram = weighted @ columns.transpose(0, 2, 1)
    coefficients, _ = _nonnegative(gram, np.einsum("rin,rn->ri", weighted, losses))
    for _ in range(2):  # the residuals of the first solution spare it the digits that its products lost
        residuals = losses - np.einsum("ri,rin->rn", coefficients, columns)
        rest = np.einsum("rin,rn->ri", weighted, residuals)[:, :, None]
        finer = coefficients + _solve_active(gram, rest, coefficients > 0)[:, :, 0]
        coefficients = np.where(finer > 0, finer, coefficients)
    residuals = losses - np.einsum("ri,rin->rn", coefficients, columns)
    return _Projection(coefficients, residuals, np.einsum("rn,rn,n->r", residuals, residuals, weight))


def _columns(x: np.ndarray, y: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """(r, 3, n)"""
    u, v = np.exp(-exponents[:, :1] * x), np.exp(-exponents[:, 1:] * y)
    return np.stack([np.ones_like(u), u, v], axis=1)


def _nonnegative(gram: np.ndarray, moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(r, 3) coefficients >= 0 of least squares, and (r,) by how much they lower the sum of squares.

    Three columns have seven supports; the best of those whose own solution is positive is the solution (Lawson and
    Hanson, Solving Least Squares Problems, 1974, chapter 23: the optimum solves least squares on its support).
    """
    best = np.zeros_like(moment)
    gain = np.zeros(len(moment))
    for support in SUPPORTS:
        active = np.zeros(moment.shape, dtype=bool)
        active[:, support] = True
        candidate = _solve_active(gram, moment[:, :, None], active)[:, :, 0]
        lowers = np.sum(candidate * moment, axis=1)
        better = np.all(candidate[:, support] > 0, axis=1) & (lowers > gain)
        best[better], gain[better] = candidate[better], lowers[better]
    return best, gain


def _solve_active(gram: np.ndarray, right: np.ndarray, active: np.ndarray) -> np.ndarray:
    """(r, 3, m): gram⁻¹·right (r, 3, m) on the active columns, zero on the others; zero where they are one column."""
    size = np.sqrt(np.einsum("rii->ri", gram))
    scaled = gram / (size[:, :, None] * size[:, None, :])
    both = active[:, :, None] & active[:, None, :]
    matrix = np.where(both, scaled, np.eye(3))
    regular = np.linalg.det(matrix) > SINGULAR
    matrix = np.where(regular[:, None, None], matrix, np.eye(3))
    usable = (active & regular[:, None])[:, :, None]
    return np.asarray(
        np.where(usable, np.linalg.solve(matrix, np.where(usable, right / size[:, :, None], 0.0)), 0.0)
        / size[:, :, None]
    )


def _damped_step(
    hessian: np.ndarray, slope: np.ndarray, damping: np.ndarray, stuck: np.ndarray
) -> np.ndarray:
    """(m, 2), at most 1 in each logarithm; none along coordinates that are stuck or that change nothing."""
    curvature = np.einsum("rii->ri", hessian)
    fixed = stuck | (curvature <= 0)
    matrix = hessian * (1 + damping[:, None, None] * np.eye(2))
    matrix = np.where(fixed[:, :, None] | fixed[:, None, :], np.eye(2), matrix)
    step = -np.linalg.solve(matrix, np.where(fixed, 0.0, slope)[:, :, None])[:, :, 0]
    return np.clip(step, -1.0, 1.0)


def _lowest(heights: np.ndarray, best: int) -> np.ndarray:
    """(m, 2) pairs of SCAN at the lowest points that no neighbour undercuts."""
    padded = np.pad(heights, 1, constant_values=np.inf)
    neighbours = [
        padded[1 + i : padded.shape[0] - 1 + i, 1 + j : padded.shape[1] - 1 + j] for i, j in _around()
    ]
    local = np.argwhere(heights <= np.min(neighbours, axis=0))
    order = np.argsort(heights[tuple(local.T)], kind="stable")[:best]
    return SCAN[local[order]]


def _around() -> Iterator[tuple[int, int]]:
    return ((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
