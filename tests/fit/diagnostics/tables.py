"""Tables with one thing wrong, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fit.diagnostics import Warning_
from fit.isoflop import fit_isoflop
from fit.table import RunTable
from tests.simulated import Surface, parabolas, table


def warnings_of(runs: RunTable) -> tuple[Warning_, ...]:
    return fit_isoflop(runs, resamples=200).warnings


def texts(runs: RunTable, code: str) -> list[str]:
    """Of the findings of this code."""
    return [warning.text for warning in warnings_of(runs) if warning.code == code]


def change(runs: RunTable, budget: float, **columns: np.ndarray) -> RunTable:
    """`runs` with other numbers at `budget`."""
    changed = {name: getattr(runs, name).copy() for name in columns}
    for name, values in columns.items():
        changed[name][runs.budget == budget] = values
    return replace(runs, **changed)


def by_budget(budgets: Sequence[float], make: Callable[[int], RunTable]) -> RunTable:
    """The tables of single budgets, `make(i)`, as one."""
    parts = [make(i) for i in range(len(budgets))]
    columns = ("budget", "params", "tokens", "loss")
    return table(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def clean() -> RunTable:
    """Runs on a surface, with every optional column, in which nothing is wrong."""
    runs = Surface().runs(span=4.0, noise=0.002)
    count = np.ones(len(runs))
    return replace(
        runs,
        optional={
            "unique_tokens": runs.tokens,
            "vocab_size": 32_000 * count,
            "lr": 1e-3 * count,
            "seed": 0 * count,
            "batch_tokens": 1e5 * count,
        },
        flops_under={"6nd": runs.flops},
        flops_convention="6nd",
    )


def drifting(factors: Sequence[float], budgets: Sequence[float]) -> RunTable:
    """Exact parabolas on grids about `factors` times the optimum."""
    return by_budget(budgets, lambda i: parabolas(centre=factors[i], budgets=budgets[i : i + 1]))
