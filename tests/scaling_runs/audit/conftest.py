"""Budgets whose losses are made of a known law and a known effect of another recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fit.valley import AXES, fit_valley
from scaling_runs.audit.effect import AuditedBudget
from tests.simulated import Law, table

Change = Callable[[np.ndarray, float], np.ndarray]
"""Nats that another recipe adds, at (n,) ln params and a budget."""
PARAMS = Law(0.05, 0.5)
CURVATURE = 0.07


def audited_budget(
    flops: float,
    changes: Mapping[str, Change],
    *,
    noise: float = 0.0,
    random: np.random.Generator | None = None,
    seeds: int = 1,
    picked: tuple[int, int] = (1, 5),
    curvature: float = CURVATURE,
) -> AuditedBudget:
    """Seven sizes of a parabola about `PARAMS`, of which two were trained again under each change.

    C = 6·N·D, so that the parabola in ln D has the same curvature as that in ln N.
    """
    random = random or np.random.default_rng(0)
    params = np.repeat(PARAMS(flops) * np.exp(np.linspace(-1, 1, 7) * np.log(4)), seeds)
    log_params = np.log(params)

    def losses(at: np.ndarray) -> np.ndarray:
        smooth = 2 + curvature * (at - np.log(PARAMS(flops))) ** 2
        return np.asarray(smooth + noise * random.standard_normal(len(at)))

    runs = table(np.full(len(params), flops), params, flops / (6 * params), losses(log_params))
    member = np.stack([np.arange(len(params)) // seeds == i for i in picked])
    changed = {}
    for name, change in changes.items():
        of_sizes = [log_params[which] for which in member]
        changed[name] = np.array([np.mean(losses(at) + change(at, flops)) for at in of_sizes])
    sizes = np.array([params[which][0] for which in member])
    return AuditedBudget(
        flops=flops,
        valleys={axis: fit_valley(runs, flops, axis) for axis in AXES},
        sizes={"params": sizes, "tokens": flops / (6 * sizes)},
        rule=member / seeds,
        changed=changed,
        runs={name: np.array([seeds, seeds]) for name in changes},
    )
