"""The best choice under a constraint, and how much compute the constraint wastes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fit.errors import UserError
from fit.tradeoff import FLOPS_PER_PARAM_TOKEN, Tradeoff

REPEATS_WORTH = 15.39
"""R_D*: repeats of unique tokens after which more add little (Muennighoff et al., arXiv 2305.16264, section 5)."""
EXCESS_WORTH = 5.31
"""R_N*: the same for params in excess of what is optimal for the unique tokens."""
INFERENCE_FLOPS = 2
"""A param and token served (Sardana et al., arXiv 2401.00448, section 2)."""
BYTES_A_PARAM = 16.0
"""Held in training with AdamW in mixed precision: 2 of bf16 weights, 2 of gradients, 4 of fp32 weights and 4 of each of
two moments (Rajbhandari et al., arXiv 1910.02054, section 3.1). Activations come on top."""
SMALLEST = 1e-6
"""Of the unconstrained optimum's params, the least that are looked at."""
GRID = 2000


@dataclass(frozen=True)
class Constraints:
    """None, or 0, where there is no such constraint."""

    unique_tokens: float | None = None
    """More tokens than these are repeats."""
    params: float | None = None
    """Exactly so many."""
    most_params: float | None = None
    inference_tokens: float = 0.0
    """Served in the model's life, out of the same FLOPs."""


@dataclass(frozen=True)
class Choice:
    """The best that the constraints allow."""

    params: float
    tokens: float
    """Trained on, repeats included."""
    loss: float
    """As `Tradeoff.loss` gives it."""
    wasted: float
    """Share of the FLOPs that would not be needed for this loss without the constraint."""
    epochs: float = 1.0
    inference_flops: float = 0.0


def most_params(memory_gb: float, gpus: float = 1.0, bytes_a_param: float = BYTES_A_PARAM) -> float:
    """The largest model whose weights, gradients and moments fill `gpus` of `memory_gb` (1e9 bytes), sharded."""
    return memory_gb * 1e9 * gpus / bytes_a_param


def best_choice(tradeoff: Tradeoff, constraints: Constraints) -> Choice:
    """The params and tokens of the lowest loss at the tradeoff's FLOPs. UserError where none can be paid for.

    Repeats are held against a choice only where it repeats: with fewer tokens than are unique the law is as it was.
    """
    free = replace(constraints, unique_tokens=None)
    choice = _best(tradeoff, free, _range(tradeoff, free))
    unique = constraints.unique_tokens
    if unique is None or choice.tokens <= unique:
        return choice
    return _best(tradeoff, constraints, _range(tradeoff, constraints))


def effective_tokens(tokens: float, unique: float) -> float:
    """What `tokens`, of which `unique` are new, are worth in new ones (Muennighoff et al., eq. 5).

    D' = U·(1 + R*·(1 - exp(-R/R*))), R repeats of U unique tokens.
    """
    return float(_worth(np.array([tokens]), unique, REPEATS_WORTH)[0])


def _worth(sizes: np.ndarray, unique: float, worth: float) -> np.ndarray:
    """(n,)"""
    excess = np.maximum(sizes / unique - 1, 0.0)
    return np.minimum(sizes, unique) + unique * worth * -np.expm1(-excess / worth)


def _range(tradeoff: Tradeoff, constraints: Constraints) -> tuple[float, float]:
    """Least and most params."""
    served = INFERENCE_FLOPS * constraints.inference_tokens
    unique = constraints.unique_tokens
    if constraints.params is not None:
        most = math.inf if served == 0 else tradeoff.flops / served
        if constraints.params >= most:
            raise UserError(
                f"{constraints.params:.3g} params served for {constraints.inference_tokens:.3g} tokens cost "
                f"{served * constraints.params:.3g} FLOPs, and the budget is {tradeoff.flops:.3g}: nothing is left to "
                f"train; give fewer params or tokens, or a larger budget"
            )
        return constraints.params, constraints.params
    most = tradeoff.params / SMALLEST if served == 0 else tradeoff.flops / served * (1 - 1e-9)
    if unique is not None:  # no fewer tokens than are unique
        most = min(most, tradeoff.flops / (FLOPS_PER_PARAM_TOKEN * unique + served))
    if constraints.most_params is not None:
        most = min(most, constraints.most_params)
    return min(tradeoff.params, most) * SMALLEST, most


def _best(tradeoff: Tradeoff, constraints: Constraints, sizes: tuple[float, float]) -> Choice:
    """Looked for on a grid of sizes, then between the neighbours of its best."""
    low, high = np.log(sizes)
    for _ in range(3):
        grid = np.linspace(low, high, GRID if high > low else 1)
        at = int(np.argmin(_losses(tradeoff, constraints, np.exp(grid))))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
    params = float(np.exp(grid[at]))
    tokens = float(_tokens(tradeoff, constraints, np.array(params)))
    loss = float(_losses(tradeoff, constraints, np.array([params]))[0])
    unique = constraints.unique_tokens
    return Choice(
        params,
        tokens,
        loss,
        max(0.0, tradeoff.wasted(loss, tradeoff.flops)),
        1.0 if unique is None else tokens / unique,
        INFERENCE_FLOPS * params * constraints.inference_tokens,
    )


def _tokens(tradeoff: Tradeoff, constraints: Constraints, params: np.ndarray) -> np.ndarray:
    """That the budget pays for, what is served taken off."""
    served = INFERENCE_FLOPS * constraints.inference_tokens
    return np.asarray((tradeoff.flops / params - served) / FLOPS_PER_PARAM_TOKEN)


def _losses(tradeoff: Tradeoff, constraints: Constraints, params: np.ndarray) -> np.ndarray:
    """(n,)"""
    tokens, unique = _tokens(tradeoff, constraints, params), constraints.unique_tokens
    if unique is None:
        return tradeoff.surface.loss(params, tokens)
    enough = _params_for(tradeoff, unique)
    return tradeoff.surface.loss(_worth(params, enough, EXCESS_WORTH), _worth(tokens, unique, REPEATS_WORTH))


def _params_for(tradeoff: Tradeoff, tokens: float) -> float:
    """Optimal for so many new tokens: alpha·a·N^-alpha = beta·b·D^-beta."""
    surface = tradeoff.surface
    ratio = surface.alpha * surface.a / (surface.beta * surface.b)
    return float((ratio * tokens**surface.beta) ** (1 / surface.alpha))
