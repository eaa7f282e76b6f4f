"""The law without the top budgets, held against what was found there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fit.losslaw import fit_loss_law
from fit.powerlaw import Estimate, PowerLaw, fit_power_law
from fit.statistics import Interval, student
from fit.valley import Axis, Valley

LEAST_BUDGETS = 4
"""With fewer, a law without its top budget rests on two points, which always lie on a line."""
LEAST_LEFT = 3


@dataclass(frozen=True)
class Backtest:
    """One budget that the law did not see."""

    held_out: int
    """How many of the largest budgets were left out."""
    held_out_flops: float
    """The one predicted: the largest."""
    ratios: Mapping[Axis, Estimate]
    """Predicted over found optimum, by axis, and what chance makes of one: 95% where the law holds and the budgets
    scatter as those do that it was fitted to."""
    loss_error: float
    """Predicted less found lowest loss, nats."""


def backtests(valleys: Mapping[Axis, Sequence[Valley]]) -> tuple[Backtest, ...]:
    """Without the top budget, and without the top two, as far as there are usable budgets to spare."""
    found = []
    for held_out in (1, 2):
        ratios: dict[Axis, Estimate] = {}
        top = 0.0
        for axis, all_valleys in valleys.items():
            usable = [(valley.budget, valley.optimum) for valley in all_valleys if valley.optimum is not None]
            if len(usable) < LEAST_BUDGETS or len(usable) - held_out < LEAST_LEFT:
                continue
            flops, optima = np.array(usable).T
            if top not in (0.0, float(flops[-1])):
                continue  # the other axis has its minimum at another top budget
            law = fit_power_law(flops[:-held_out], optima[:-held_out])
            ratio = law.value(float(flops[-1])) / float(optima[-1])
            ratios[axis] = Estimate(ratio, _chance(law, float(flops[-1])))
            top = float(flops[-1])
        if "tokens" in ratios:
            found.append(Backtest(held_out, top, ratios, _loss_error(valleys["tokens"], held_out)))
    return tuple(found)


def _chance(law: PowerLaw, flops: float) -> Interval:
    """Of prediction over a new optimum at `flops`: Student's prediction interval of the plain regression."""
    x, residuals = np.log(law.flops), np.log(law.optima) - np.log([law.value(one) for one in law.flops])
    freedom = len(x) - 2
    offset = np.log(flops) - x.mean()
    spread = 1 + 1 / len(x) + offset**2 / np.sum((x - x.mean()) ** 2)
    half = student(freedom) * np.sqrt(float(residuals @ residuals) / freedom * spread)
    return float(np.exp(-half)), float(np.exp(half))


def _loss_error(valleys: Sequence[Valley], held_out: int) -> float:
    usable = [(valley.budget, valley.optimum_loss) for valley in valleys if valley.optimum_loss is not None]
    flops, losses = np.array(usable).T
    law = fit_loss_law(flops[:-held_out], losses[:-held_out])
    return law.predict(float(flops[-1])).value - float(losses[-1])
