"""The law without the top budgets, held against what was found there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fit.losslaw import fit_loss_law
from fit.powerlaw import fit_power_law
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
    ratios: Mapping[Axis, float]
    """Predicted over found optimum, by axis."""
    loss_error: float
    """Predicted less found lowest loss, nats."""


def backtests(valleys: Mapping[Axis, Sequence[Valley]]) -> tuple[Backtest, ...]:
    """Without the top budget, and without the top two, as far as there are usable budgets to spare."""
    found = []
    for held_out in (1, 2):
        ratios: dict[Axis, float] = {}
        top = 0.0
        for axis, all_valleys in valleys.items():
            usable = [(valley.budget, valley.optimum) for valley in all_valleys if valley.optimum is not None]
            if len(usable) < LEAST_BUDGETS or len(usable) - held_out < LEAST_LEFT:
                continue
            flops, optima = np.array(usable).T
            law = fit_power_law(flops[:-held_out], optima[:-held_out])
            ratios[axis] = law.value(float(flops[-1])) / float(optima[-1])
            top = float(flops[-1])
        if "tokens" in ratios:
            found.append(Backtest(held_out, top, ratios, _loss_error(valleys["tokens"], held_out)))
    return tuple(found)


def _loss_error(valleys: Sequence[Valley], held_out: int) -> float:
    usable = [(valley.budget, valley.optimum_loss) for valley in valleys if valley.optimum_loss is not None]
    flops, losses = np.array(usable).T
    law = fit_loss_law(flops[:-held_out], losses[:-held_out])
    return law.predict(float(flops[-1])).value - float(losses[-1])
