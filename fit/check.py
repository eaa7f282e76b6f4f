"""Choices of params and tokens against a law: where each stands, and which errors it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fit.advise import Advice, advise, positive
from fit.errors import UserError
from fit.laws import PlannerLaw
from fit.limits import POSITIVE
from fit.tradeoff import FLOPS_PER_PARAM_TOKEN

ROUNDING = 0.005
"""A plan that costs no more than this above its budget is one that was rounded."""


@dataclass(frozen=True)
class Check:
    """Where a combination of params and tokens stands against the optimum of its own cost."""

    params: float
    tokens: float
    advice: Advice
    """At the cost of the choice."""
    budget: float | None = None
    """FLOPs that there are, where that is known."""
    name: str = ""

    @property
    def flops(self) -> float:
        return self.advice.flops

    @property
    def tokens_ratio(self) -> float:
        return self.tokens / self.advice.tokens

    @property
    def params_ratio(self) -> float:
        return self.params / self.advice.params

    @property
    def loss(self) -> float:
        """As `Tradeoff.loss` gives it."""
        return self.advice.tradeoff.loss(self.params, self.tokens)

    @property
    def wasted(self) -> float:
        """Share of its FLOPs that a balanced choice would not need for the same loss."""
        return max(0.0, self.advice.tradeoff.wasted(self.loss, self.flops))

    @property
    def over_budget(self) -> float | None:
        """How many times its budget it costs, where that is too much."""
        if self.budget is None or self.flops <= self.budget * (1 + ROUNDING):
            return None
        return self.flops / self.budget


def check(
    law: PlannerLaw, params: float, tokens: float, budget: float | None = None, name: str = ""
) -> Check:
    """`params` on `tokens` against the law's optimum at the same 6·N·D FLOPs. UserError where that is no number."""
    positive("--params", params)
    positive("--tokens", tokens)
    flops = FLOPS_PER_PARAM_TOKEN * params * tokens
    if not POSITIVE.low <= flops <= POSITIVE.high:
        raise UserError(
            f"6 x --params x --tokens is {flops:.3g} FLOPs, where {POSITIVE.words} is expected; check the units"
        )
    return Check(params, tokens, advise(law, flops), budget, name)


def nearest(checks: Sequence[Check]) -> Check:
    """The one that wastes the smallest share of its compute."""
    return min(checks, key=lambda one: one.wasted)
