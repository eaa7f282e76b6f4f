"""A law and a budget -> what to train."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from fit.errors import UserError
from fit.laws import PlannerLaw
from fit.limits import POSITIVE
from fit.powerlaw import Estimate
from fit.statistics import Interval, decades_beyond
from fit.tradeoff import FLOPS_PER_PARAM_TOKEN, Tradeoff, tradeoff_at

WITHIN = (0.001, 0.005, 0.01)
"""Shares above the best loss at which the range of sizes is said."""
WASTING = (0.01, 0.05, 0.1)
"""Shares of wasted compute, of a law without a loss."""
NEIGHBOURS = (0.5, 2.0)
"""Times the optimal params, at the same FLOPs."""
OFF_BUDGET = 0.02
"""Where the law's two optima cost more or less than the budget by so much, it is told."""


@dataclass(frozen=True)
class Neighbour:
    """Another balance at the same cost."""

    times: float
    """The optimal params."""
    params: float
    tokens: float
    loss: float
    """As `Tradeoff.loss` gives it."""
    wasted: float
    """Share of the FLOPs that a balanced choice would not need for this loss."""


@dataclass(frozen=True)
class Advice:
    """What the law says of a budget."""

    law: PlannerLaw
    flops: float
    tokens: float
    tokens_ci95: Interval | None
    params: float
    params_ci95: Interval | None
    params_from: str
    decades_beyond: float
    """log10 of how far the budget lies outside the law's data; 0 inside, NaN where that is not known."""

    @cached_property
    def tradeoff(self) -> Tradeoff:
        """Losses about this optimum."""
        return tradeoff_at(self.law, self.flops, self.params, self.tokens)

    @property
    def loss(self) -> Estimate | None:
        """The lowest at this cost: by the loss law, which has an interval, where there is one; else by the surface."""
        if self.law.loss_law is not None:
            return self.law.loss_law.predict(self.flops)
        return Estimate(self.tradeoff.best_loss, None) if self.tradeoff.loss_known else None

    def neighbours(self) -> list[Neighbour]:
        """NEIGHBOURS of the optimum."""
        return [self.at(times) for times in NEIGHBOURS]

    def at(self, times: float) -> Neighbour:
        """`times` the optimal params for the same FLOPs."""
        params, tokens = self.tradeoff.params * times, self.tradeoff.tokens / times
        loss = self.tradeoff.loss(params, tokens)
        return Neighbour(times, params, tokens, loss, self.tradeoff.wasted(loss, self.flops))


def on_budget(advice: Advice) -> bool:
    """Whether 6ND of the law's own params and tokens is its budget, to 2%."""
    return abs(FLOPS_PER_PARAM_TOKEN * advice.params * advice.tokens / advice.flops - 1) < OFF_BUDGET


def advise(law: PlannerLaw, flops: float) -> Advice:
    """Optimal tokens and params at `flops`. UserError where that is no positive number."""
    positive("--flops", flops)
    tokens, tokens_ci95 = positive("optimal tokens", law.tokens.value(flops)), law.tokens.value_ci95(flops)
    if law.params is not None:
        params, params_ci95, source = (
            law.params.value(flops),
            law.params.value_ci95(flops),
            "the law's own params",
        )
    else:
        params, source = flops / (FLOPS_PER_PARAM_TOKEN * tokens), "C = 6ND"
        params_ci95 = tokens_ci95 and (
            flops / (FLOPS_PER_PARAM_TOKEN * tokens_ci95[1]),
            flops / (FLOPS_PER_PARAM_TOKEN * tokens_ci95[0]),
        )
    positive("optimal params", params)
    beyond = math.nan if law.flops_range is None else decades_beyond(flops, *law.flops_range)
    return Advice(law, flops, tokens, tokens_ci95, params, params_ci95, source, beyond)


def flops_for_loss(law: PlannerLaw, loss: float) -> float:
    """The least FLOPs whose best model has `loss`, in nats a token.

    By the loss law where there is one, else by the surface, whose lowest loss is floor + A·C^-γ too. UserError where
    the law has neither, or no compute is enough.
    """
    if law.loss_law is not None:
        floor, coefficient, exponent = (
            law.loss_law.floor or 0.0,
            law.loss_law.coefficient,
            law.loss_law.exponent,
        )
    elif law.surface is not None:
        surface = law.surface
        floor = surface.floor
        exponent = surface.alpha * surface.beta / (surface.alpha + surface.beta)
        coefficient = surface.optima(1.0, FLOPS_PER_PARAM_TOKEN)["loss"] - floor
    else:
        having = "hoffmann, epoch, muennighoff or a fit's JSON with a loss law"
        raise UserError(
            f"law '{law.name}' has no loss, so what reaches {loss:g} nats can't be said; give {having}"
        )
    if not (exponent > 0 and loss > floor):
        raise UserError(
            f"--loss {loss:g} is not above {floor:.4g} nats, which by '{law.name}' no compute reaches; give more"
        )
    flops = math.exp(min(700.0, (math.log(coefficient) - math.log(loss - floor)) / exponent))
    if not POSITIVE.low <= flops <= POSITIVE.high:
        raise UserError(
            f"--loss {loss:g} takes {flops:.3g} FLOPs by '{law.name}'; give a loss that can be trained for"
        )
    return flops


def widening(advice: Advice) -> tuple[float, float] | None:
    """Upper over lower end of the tokens' 95% interval: at the nearest end of the law's data, and at the budget.

    None where the law has no intervals.
    """
    law, here = advice.law, advice.tokens_ci95
    if law.flops_range is None or here is None:
        return None
    low, high = law.flops_range
    there = law.tokens.value_ci95(high if advice.flops > high else low)
    return None if there is None else (there[1] / there[0], here[1] / here[0])


def positive(name: str, value: float) -> float:
    """UserError where `value` is no positive, finite number."""
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"{name} is {value}; a positive, finite number is expected")
    return value
