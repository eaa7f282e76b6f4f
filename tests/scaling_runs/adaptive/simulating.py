"""Adaptive experiments on valleys that are known exactly; nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scaling_runs.adaptive.decide import decide
from scaling_runs.adaptive.records import Decision, Observation, Request, Settings, Space

BUDGETS = (1e18, 2e18, 4e18, 8e18, 1.6e19)
LADDER = tuple(int(size) for size in np.geomspace(1e5, 1e12, 400))
OPTIMUM, EXPONENT = 1e8, 0.46
"""Params at the smallest budget, and how they grow."""
SPACE = Space(sizes=lambda _: LADDER, cost=lambda request: request.budget)


def settings_for(**changes: Any) -> Settings:
    """A right guess, unless `changes` says otherwise."""
    usual: dict[str, Any] = {
        "budgets": BUDGETS,
        "expected_params": OPTIMUM,
        "expected_at_flops": BUDGETS[0],
        "expected_exponent": 0.5,
        "span": 6.0,
        "sizes": 5,
        "round_cells": 4,
        "max_flops": 2e20,
        "exponent_width": 0.02,
    }
    return Settings(**(usual | changes))


def log_optimum(budget: float) -> float:
    return math.log(OPTIMUM) + EXPONENT * math.log(budget / BUDGETS[0])


def loss(request: Request, noise: float = 0.0) -> float:
    """A parabola in ln params about `log_optimum`; the same noise whenever the same cell is asked for."""
    at = [int(math.log(request.budget) * 1e6), request.params, request.seed]
    drawn = noise * np.random.default_rng(at).standard_normal() if noise else 0.0
    depth = 0.05 * (math.log(request.params) - log_optimum(request.budget)) ** 2
    return float(2 + 3 * (request.budget / 1e18) ** -0.05 + depth + drawn)


def observed(requests: Sequence[Request], noise: float = 0.0) -> list[Observation]:
    return [
        Observation(
            budget=one.budget,
            params=one.params,
            tokens=one.budget / 6 / one.params,
            flops=one.budget,
            cost=one.budget,
            loss=loss(one, noise),
            seed=one.seed,
        )
        for one in requests
    ]


def play(
    settings: Settings,
    space: Space = SPACE,
    noise: float = 0.0,
    fails: Callable[[Request], bool] = lambda _: False,
    most_rounds: int = 100,
) -> tuple[list[Observation], list[Decision]]:
    """An experiment to its end: what was trained, and every decision."""
    runs: list[Observation] = []
    failed: set[Request] = set()
    decisions: list[Decision] = []
    while not decisions or decisions[-1].stop is None:
        assert len(decisions) < most_rounds, "it does not end"
        decisions.append(decide(runs, failed, settings, space))
        requests = decisions[-1].requests
        runs += observed([one for one in requests if not fails(one)], noise)
        failed |= {one for one in requests if fails(one)}
    return runs, decisions
