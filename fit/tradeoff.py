"""What another balance of params and tokens costs: a surface of losses, laid so that its lowest point is the law's.

On L = E + a·N^-alpha + b·D^-beta and C = 6·N·D a choice that is r times the optimal size raises the part of the loss
that compute can lower by the factor g(r) = (beta·r^-alpha + alpha·r^beta)/(alpha + beta), and that part falls with
compute as C^-γ, γ = alpha·beta/(alpha + beta). So the compute that such a choice wastes, 1 - g(r)^(-1/γ), follows from
the two exponents alone, whatever E, a and b are (from Hoffmann et al., arXiv 2203.15556, eq. 4 and 10).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fit.laws import PlannerLaw
from fit.references import EPOCH
from fit.surface import Surface

FLOPS_PER_PARAM_TOKEN = 6
"""C = 6·N·D (Kaplan et al., arXiv 2001.08361, eq. 2.1)."""
BORROWED = EPOCH
"""Whose exponents are taken where a law has no loss. Of sizes up to 7 times off, the shares of waste by those of
hoffmann and muennighoff are up to 6 points less."""


@dataclass(frozen=True)
class Tradeoff:
    """Losses about the optimum of one budget."""

    flops: float
    params: float
    """Of the optimum, on C = 6·N·D."""
    tokens: float
    surface: Surface
    """With its optimum at `params` and `tokens`."""
    borrowed: str = ""
    """Whose exponents these are, where the law has no loss: then only ratios of compute mean anything."""

    @property
    def loss_known(self) -> bool:
        return not self.borrowed

    @property
    def best_loss(self) -> float:
        """Nats a token."""
        return self.loss(self.params, self.tokens)

    def loss(self, params: float, tokens: float) -> float:
        """Nats a token; in units of its own where the law has no loss."""
        return float(self.surface.loss(np.array(params), np.array(tokens)))

    def equal_flops(self, loss: float) -> float:
        """The least FLOPs that reach `loss`, with params and tokens in balance."""
        reducible = (loss - self.surface.floor) / (self.best_loss - self.surface.floor)
        return float(self.flops * reducible ** (-1 / self._gamma))

    def optimum(self, flops: float) -> tuple[float, float]:
        """(params, tokens) in balance at another cost."""
        found = self.surface.optima(flops, FLOPS_PER_PARAM_TOKEN)
        return found["params"], found["tokens"]

    def wasted(self, loss: float, flops: float) -> float:
        """Share of `flops` that a balanced choice would not need for `loss`."""
        return 1 - self.equal_flops(loss) / flops

    def sizes_within(self, share: float) -> tuple[float, float] | None:
        """Least and most params, at the same cost, whose loss is at most `share` above the best.

        None where the law has no loss.
        """
        if not self.loss_known:
            return None
        return self._sizes(1 + share * self.best_loss / (self.best_loss - self.surface.floor))

    def sizes_wasting(self, share: float) -> tuple[float, float]:
        """Least and most params, at the same cost, that waste at most `share` of the compute."""
        return self._sizes((1 - share) ** -self._gamma)

    @property
    def _gamma(self) -> float:
        alpha, beta = self.surface.alpha, self.surface.beta
        return alpha * beta / (alpha + beta)

    def _sizes(self, raised: float) -> tuple[float, float]:
        """Params below and above the optimum at which what compute can lower is `raised` times its least."""
        alpha, beta = self.surface.alpha, self.surface.beta

        def over(log_ratio: float) -> float:
            terms = beta * math.exp(-alpha * log_ratio) + alpha * math.exp(beta * log_ratio)
            return terms / (alpha + beta) - raised

        from scipy.optimize import brentq

        low, high = -1.0, 1.0
        while over(low) < 0:
            low *= 2
        while over(high) < 0:
            high *= 2
        below, above = brentq(over, low, 0.0, xtol=1e-12), brentq(over, 0.0, high, xtol=1e-12)
        return self.params * math.exp(below), self.params * math.exp(above)


def tradeoff_at(law: PlannerLaw, flops: float, params: float, tokens: float) -> Tradeoff:
    """About the law's optimum at `flops`. The ratio of its tokens to its params is kept, their product is C/6."""
    ratio = tokens / params
    on_cost = math.sqrt(flops / (FLOPS_PER_PARAM_TOKEN * ratio))
    if law.surface is not None:
        found = law.surface
        reducible = found.optima(flops, FLOPS_PER_PARAM_TOKEN)["loss"] - found.floor
        return Tradeoff(flops, on_cost, ratio * on_cost, _laid(found, found.floor, reducible, on_cost, ratio))
    borrowed = BORROWED.surface
    assert borrowed is not None
    return Tradeoff(
        flops, on_cost, ratio * on_cost, _laid(borrowed, 0.0, 1.0, on_cost, ratio), BORROWED.title
    )


def _laid(surface: Surface, floor: float, reducible: float, params: float, ratio: float) -> Surface:
    """With the same exponents and its optimum at `params` on `ratio`·`params` tokens, `reducible` above `floor`."""
    alpha, beta = surface.alpha, surface.beta
    a = reducible * beta / (alpha + beta) * params**alpha
    b = reducible * alpha / (alpha + beta) * (ratio * params) ** beta
    return Surface(floor, a, b, alpha, beta)
