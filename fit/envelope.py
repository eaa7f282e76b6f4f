"""The first approach of Hoffmann et al. (arXiv 2203.15556, section 3.1): the lower envelope of the learning curves.

At each of many FLOPs the run with the lowest loss gives a size and a token count, and power laws are drawn through
these. It is biased wherever a schedule decays at its run's end: a loss on the way, before the decay, is higher than
that of a run that ends there, so the envelope prefers runs that are about to end. Trust it for schedules that are
constant, or matched to the FLOPs at which they are read; else as a second opinion on the isoFLOP parabolas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fit.aside import SetAside
from fit.curves import Curve
from fit.errors import UserError
from fit.powerlaw import BareLaw
from fit.statistics import ols, percentiles

POINTS = 1500
"""FLOPs at which the envelope is read, even in log C (Hoffmann et al., section 3.1)."""
MIN_SIZES = 3
"""Where fewer sizes are under way, the lowest loss says nothing of an optimum between them."""
DEFAULT_RESAMPLES = 500


@dataclass(frozen=True)
class Envelope:
    """The runs that are ahead, and the laws through them."""

    flops: np.ndarray
    """(p,) where the run that is ahead is neither the smallest nor the largest of those under way."""
    params: np.ndarray
    """(p,) of the run that is ahead."""
    tokens: np.ndarray
    """(p,) that it has been trained on by then."""
    loss: np.ndarray
    """(p,) nats a token."""
    run_id: np.ndarray
    """(p,)"""
    laws: dict[str, BareLaw]
    """By axis: tokens, params."""
    at_edge: float
    """Share of the FLOPs read that were left out, because the run ahead is the smallest or the largest there, or there
    is none."""
    lost: float
    """Share of the resamples that give no law."""
    set_aside: tuple[SetAside, ...]
    """Curves that can't be interpolated."""


@dataclass(frozen=True)
class _Grid:
    """Every curve at every FLOPs; NaN outside a curve's own range."""

    flops: np.ndarray
    """(p,)"""
    params: np.ndarray
    """(c,)"""
    tokens: np.ndarray
    """(c, p)"""
    loss: np.ndarray
    """(c, p)"""


def fit_envelope(
    curves: Sequence[Curve], *, points: int = POINTS, resamples: int = DEFAULT_RESAMPLES, seed: int = 0
) -> Envelope:
    """The lower envelope of `curves` at `points` FLOPs, and the power laws of its tokens and params.

    Losses are interpolated linearly in log C, which lies above a curve that is convex: record them often. The range of
    FLOPs is that where at least three sizes are under way. The intervals are percentiles of a bootstrap over runs,
    seeded by `seed`: points along one curve are one observation, so a bootstrap over points would promise too much.
    UserError where the curves overlap nowhere, or fewer than two sizes are ever ahead inside the range of sizes.
    """
    usable = [curve for curve in curves if len(curve.flops) > 1]
    grid = _grid(usable, points)
    everyone = np.ones(len(usable), dtype=bool)
    ahead, inside = _ahead(grid, everyone)
    lines = _lines(grid, ahead, inside)
    if lines is None:
        raise UserError(
            f"of {len(usable)} curves fewer than 2 sizes are ever ahead with a smaller and a larger one beside them; "
            f"train more sizes, or use the parabolas of `fit isoflop`"
        )
    random = np.random.default_rng(seed)
    draws = [_resampled(grid, random) for _ in range(resamples)]
    by_axis = {
        axis: np.array([draw[axis] for draw in draws if draw is not None]).reshape(-1, 2) for axis in lines
    }
    winners, at = ahead[inside], np.flatnonzero(inside)
    return Envelope(
        flops=grid.flops[inside],
        params=grid.params[winners],
        tokens=grid.tokens[winners, at],
        loss=grid.loss[winners, at],
        run_id=np.array([usable[winner].run_id for winner in winners]),
        laws={axis: _law(line, by_axis[axis]) for axis, line in lines.items()},
        at_edge=float(1 - inside.mean()),
        lost=sum(draw is None for draw in draws) / resamples if resamples else 0.0,
        set_aside=tuple(
            SetAside(curve.run_id, "a curve of a single point") for curve in curves if len(curve.flops) < 2
        ),
    )


def _grid(curves: Sequence[Curve], points: int) -> _Grid:
    """From the least to the most FLOPs at which MIN_SIZES sizes are under way."""
    low, high = _shared_range(curves)
    logs = np.linspace(np.log(low), np.log(high), points)
    tokens, loss = np.full((2, len(curves), points), np.nan)
    for i, curve in enumerate(curves):
        own = np.log(curve.flops)
        within = (logs >= own[0]) & (logs <= own[-1])
        loss[i, within] = np.interp(logs[within], own, curve.loss)
        tokens[i, within] = np.exp(np.interp(logs[within], own, np.log(curve.tokens)))
    return _Grid(np.exp(logs), np.array([curve.params for curve in curves]), tokens, loss)


def _shared_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Between the first and the last FLOPs at which MIN_SIZES different sizes are under way."""
    ends = np.unique([end for curve in curves for end in (curve.flops[0], curve.flops[-1])])
    middles = np.sqrt(ends[:-1]) * np.sqrt(ends[1:])
    shared = [
        i
        for i, middle in enumerate(middles)
        if len({curve.params for curve in curves if curve.flops[0] <= middle <= curve.flops[-1]}) >= MIN_SIZES
    ]
    if not shared:
        raise UserError(
            f"of {len(curves)} curves with 2 points and more nowhere {MIN_SIZES} sizes overlap in FLOPs; an envelope "
            f"needs runs of different sizes at the same FLOPs, with losses on the way"
        )
    return float(ends[shared[0]]), float(ends[shared[-1] + 1])


def _ahead(grid: _Grid, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p,) which of the runs that are `there`, (c,), is ahead, and (p,) whether a smaller and a larger one run too."""
    loss = np.where(there[:, None] & np.isfinite(grid.loss), grid.loss, np.inf)
    ahead = np.argmin(loss, axis=0)
    under_way = np.isfinite(loss)
    sizes = grid.params[:, None]
    smallest = np.min(np.where(under_way, sizes, np.inf), axis=0)
    largest = np.max(np.where(under_way, sizes, 0.0), axis=0)
    best = grid.params[ahead]
    return ahead, (smallest < best) & (best < largest)


def _lines(grid: _Grid, ahead: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray] | None:
    """By axis, (2,) ln coefficient and exponent; None where fewer than two sizes are ahead."""
    winners, at = ahead[inside], np.flatnonzero(inside)
    if len(np.unique(grid.params[winners])) < 2:
        return None
    optima = np.log(np.stack([grid.tokens[winners, at], grid.params[winners]]))
    tokens, params = ols(np.log(grid.flops[inside]), optima)
    return {"tokens": tokens, "params": params}


def _resampled(grid: _Grid, random: np.random.Generator) -> dict[str, np.ndarray] | None:
    """As many runs drawn with replacement; a run that is drawn twice is ahead as often as once."""
    drawn = random.integers(len(grid.params), size=len(grid.params))
    return _lines(grid, *_ahead(grid, np.isin(np.arange(len(grid.params)), drawn)))


def _law(line: np.ndarray, draws: np.ndarray) -> BareLaw:
    return BareLaw(float(np.exp(line[0])), float(line[1]), percentiles(draws[:, 1]))
