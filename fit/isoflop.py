"""Per budget a parabola of loss in log size, its minimum; over budgets a power law of the minima.

The second of the three approaches of Hoffmann et al. (arXiv 2203.15556, section 3.2), and that of Llama 3
(arXiv 2407.21783, section 3.2.1). Tokens and params are each fitted on their own axis; neither is derived from
the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fit.diagnostics import Warning_, fit_warnings
from fit.errors import UserError
from fit.intervals import DEFAULT_RESAMPLES, Bootstrap, bootstrap_laws, parabola_design
from fit.powerlaw import PowerLaw, Prediction, fit_power_law
from fit.table import RunTable, SetAside

Axis = Literal["tokens", "params"]
AXES: tuple[Axis, ...] = ("tokens", "params")
Status = Literal["ok", "edge-minimum", "opens-downward", "too-few-sizes"]
MIN_SIZES = 3
SAME_SIZE = 1e-3
"""Sizes that lie closer than this, in natural log, are one size."""
FLAT = 1e-12
"""A parabola that rises less than this share of the loss over its grid is flat to rounding."""
BACKTEST_BUDGETS = 4


@dataclass(frozen=True)
class Valley:
    """The parabola of one budget along one axis: loss = c0 + c1·z + c2·z², z = ln(size / centre)."""

    axis: Axis
    budget: float
    sizes: np.ndarray
    """(n,) tokens or params of the runs."""
    losses: np.ndarray
    """(n,)"""
    centre: float
    coefficients: tuple[float, float, float]
    r2: float
    status: Status
    optimum: float | None
    """Where the loss is lowest; None unless the parabola has its minimum inside the runs' range."""
    optimum_loss: float | None

    @property
    def interior(self) -> bool:
        return self.status == "ok"

    @property
    def depth(self) -> float:
        """Nats between the minimum and the lower end of the parabola: what noise must not reach."""
        if self.optimum_loss is None:
            return 0.0
        ends = self.loss_at(np.array([self.sizes.min(), self.sizes.max()]))
        return float(ends.min() - self.optimum_loss)

    def loss_at(self, sizes: np.ndarray) -> np.ndarray:
        """The parabola at (m,) sizes, in nats."""
        c0, c1, c2 = self.coefficients
        z = np.log(sizes / self.centre)
        return np.asarray(c0 + c1 * z + c2 * z * z)


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
class SeedNoise:
    """Spread of equal cells that differ in their seed."""

    sd: float
    """Nats, pooled over groups."""
    degrees_of_freedom: int


@dataclass(frozen=True)
class Backtest:
    """The law without the top budget, held against what was found there."""

    held_out_flops: float
    tokens_ratio: float
    """Predicted over found optimal tokens."""


@dataclass(frozen=True)
class IsoflopFit:
    """What an isoFLOP experiment says. `fit/result.py` writes it as contract 2."""

    table: RunTable
    budgets: tuple[Budget, ...]
    laws: dict[str, PowerLaw | None]
    """By axis; None where fewer than two budgets have a usable minimum."""
    params_laws: dict[str, PowerLaw | None]
    """The params law under each convention that the table counts params by."""
    predictions: tuple[Prediction, ...]
    seed_noise: SeedNoise | None
    backtest: Backtest | None
    warnings: tuple[Warning_, ...]
    set_aside: tuple[SetAside, ...]
    resamples: int


def fit_isoflop(
    table: RunTable, *, predict: Sequence[float] = (), resamples: int = DEFAULT_RESAMPLES, seed: int = 0
) -> IsoflopFit:
    """Fit every budget of `table` and the laws over them, with 95% intervals.

    predict: FLOPs at which optimal tokens and params are wanted. resamples: of the bootstrap, seeded by `seed`.
    UserError where no budget has three sizes, or fewer than two have a usable minimum in tokens.
    """
    axes = {axis: _fit_axis(table, axis, resamples, seed) for axis in AXES}
    valleys = {axis: fitted.valleys for axis, fitted in axes.items()}
    laws: dict[str, PowerLaw | None] = {axis: fitted.law for axis, fitted in axes.items()}
    if all(valley.status == "too-few-sizes" for valley in valleys["tokens"]):
        raise UserError(
            f"'{table.source}' has {len(table.budgets)} budgets, none of them with {MIN_SIZES} different sizes; a "
            f"parabola needs {MIN_SIZES}: train more sizes a budget, or name the budgets' column with "
            f"--column budget=NAME"
        )
    if laws["tokens"] is None:
        raise UserError(_too_few_budgets(table, valleys["tokens"]))
    budgets = tuple(
        Budget(
            flops=float(flops),
            runs=int((table.budget == flops).sum()),
            tokens=valleys["tokens"][i],
            params=valleys["params"][i],
            optimum_ci95={axis: fitted.bootstrap.optimum_ci95[i] for axis, fitted in axes.items()},
            lost={axis: fitted.bootstrap.lost[i] for axis, fitted in axes.items()},
        )
        for i, flops in enumerate(table.budgets)
    )
    noise = seed_noise(table)
    return IsoflopFit(
        table=table,
        budgets=budgets,
        laws=laws,
        params_laws={
            name: _fit_axis(replace(table, params=params), "params", resamples, seed).law
            for name, params in table.params_under.items()
        },
        predictions=tuple(
            Prediction(float(flops), {axis: law.predict(float(flops)) for axis, law in laws.items() if law})
            for flops in predict
        ),
        seed_noise=noise,
        backtest=backtest(valleys["tokens"]),
        warnings=tuple(fit_warnings(table, budgets, laws, noise.sd if noise else None)),
        set_aside=table.set_aside,
        resamples=resamples,
    )


@dataclass(frozen=True)
class _AxisFit:
    valleys: list[Valley]
    bootstrap: Bootstrap
    law: PowerLaw | None


def _fit_axis(table: RunTable, axis: Axis, resamples: int, seed: int) -> _AxisFit:
    """Every valley along one axis, and the law of those that have a minimum."""
    valleys = [fit_valley(table, budget, axis) for budget in table.budgets]
    bootstrap = bootstrap_laws(valleys, resamples, seed)
    usable = [(valley.budget, valley.optimum) for valley in valleys if valley.optimum is not None]
    if len(usable) < 2:
        return _AxisFit(valleys, bootstrap, None)
    flops, optima = np.array(usable).T
    return _AxisFit(valleys, bootstrap, fit_power_law(flops, optima, bootstrap.draws))


def fit_valley(table: RunTable, budget: float, axis: Axis) -> Valley:
    """Ordinary least squares of loss on a parabola in ln(size), about the mean for the sake of conditioning."""
    chosen = table.budget == budget
    sizes, losses = (table.tokens if axis == "tokens" else table.params)[chosen], table.loss[chosen]
    centre = float(np.exp(np.mean(np.log(sizes))))
    nothing = (float("nan"),) * 3
    empty = Valley(
        axis, float(budget), sizes, losses, centre, nothing, float("nan"), "too-few-sizes", None, None
    )
    if _different(sizes) < MIN_SIZES:
        return empty
    design = parabola_design(sizes, centre)
    c0, c1, c2 = (float(c) for c in np.linalg.lstsq(design, losses, rcond=None)[0])
    residuals = losses - design @ (c0, c1, c2)
    spread = float(np.sum((losses - losses.mean()) ** 2))
    r2 = 1 - float(residuals @ residuals) / spread if spread > 0 else float("nan")
    found = replace(empty, coefficients=(c0, c1, c2), r2=r2)
    z = design[:, 1]
    if c2 * np.ptp(z) ** 2 <= FLAT * losses.mean():
        return replace(found, status="opens-downward")
    bottom = -c1 / (2 * c2)
    if not z.min() < bottom < z.max():
        return replace(found, status="edge-minimum")
    optimum, lowest = centre * float(np.exp(bottom)), c0 - c1 * c1 / (4 * c2)
    return replace(found, status="ok", optimum=optimum, optimum_loss=lowest)


def _different(sizes: np.ndarray) -> int:
    """How many different sizes there are."""
    return 1 + int(np.sum(np.diff(np.sort(np.log(sizes))) > SAME_SIZE))


def seed_noise(table: RunTable) -> SeedNoise | None:
    """Pooled standard deviation of runs equal in budget, params and tokens; None where no run was repeated."""
    keys = np.stack([table.budget, table.params, table.tokens], axis=1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.ravel()
    counts = np.bincount(group)
    freedom = int(np.sum(counts - 1))
    if freedom == 0:
        return None
    means = np.bincount(group, weights=table.loss) / counts
    return SeedNoise(float(np.sqrt(np.sum((table.loss - means[group]) ** 2) / freedom)), freedom)


def backtest(valleys: Sequence[Valley]) -> Backtest | None:
    """Leave the top budget out, predict its optimum from the others; None with fewer than four usable budgets."""
    usable = [(valley.budget, valley.optimum) for valley in valleys if valley.optimum is not None]
    if len(usable) < BACKTEST_BUDGETS:
        return None
    *rest, (top_flops, found) = usable
    law = fit_power_law(np.array([b for b, _ in rest]), np.array([o for _, o in rest]), None)
    return Backtest(top_flops, law.value(top_flops) / found)


def _too_few_budgets(table: RunTable, valleys: Sequence[Valley]) -> str:
    states = "; ".join(f"{valley.budget:.3g} FLOPs: {valley.status}" for valley in valleys)
    return (
        f"'{table.source}' has fewer than 2 budgets with a minimum inside their grid ({states}); a law needs 2: extend "
        f"the grids past their edges or add budgets"
    )
