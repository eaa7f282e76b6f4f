"""Runs that no law rests on, and why: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fit.table import RunTable, SetAside
from fit.valley import Status, Valley

if TYPE_CHECKING:
    from fit.isoflop import Budget

WHY: dict[Status, str] = {
    "edge-minimum": "its budget's parabola has no minimum inside the grid",
    "opens-downward": "its budget's parabola opens downward",
    "too-few-sizes": "its budget has fewer than 3 different sizes",
}
OUTSIDE = "it lies outside the window about the lowest loss, or so far off that a robust parabola gives it no weight"


def unused_runs(table: RunTable, budgets: Sequence[Budget]) -> tuple[SetAside, ...]:
    """Those that the table sets aside, then each run that the law of one axis or of both does without."""
    found = list(table.set_aside)
    for budget in budgets:
        names = table.run_id[table.budget == budget.flops]
        for name, tokens, params in zip(names, _reasons(budget.tokens), _reasons(budget.params), strict=True):
            if reason := _of_both(tokens, params):
                found.append(SetAside(str(name), reason))
    return tuple(found)


def _reasons(valley: Valley) -> list[str]:
    """(n) empty where the run is used."""
    if valley.status != "ok":
        return [WHY[valley.status]] * len(valley.losses)
    return list(np.where(valley.used, "", OUTSIDE))


def _of_both(tokens: str, params: str) -> str:
    if tokens == params:
        return tokens and f"in no law: {tokens}"
    parts = {"tokens": tokens, "params": params}
    return "; ".join(f"not in the {axis} law: {reason}" for axis, reason in parts.items() if reason)
