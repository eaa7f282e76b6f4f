"""What is wrong with this data: each finding has a code, and a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fit.intervals import borrows_noise

if TYPE_CHECKING:
    from fit.isoflop import Budget
    from fit.powerlaw import PowerLaw
    from fit.table import RunTable
    from fit.valley import Valley

POOR_R2 = 0.9
OFF_CENTRE = 0.2
"""A minimum in the outer fifth of the grid, in log size, is off-centre."""
SHALLOW = 2.0
"""A valley shallower than this many standard deviations of the seed noise is no valley."""
MOST_NAMES = 10
"""Runs that one warning names."""
LOST = 0.05
"""Where more resamples than this have no minimum inside the grid, the interval is cut off by its edges."""


@dataclass(frozen=True)
class Warning_:
    """One finding."""

    code: str
    text: str
    budget: float | None = None
    """FLOPs, where it is about one budget."""


def fit_warnings(
    table: RunTable, budgets: Sequence[Budget], laws: Mapping[str, PowerLaw | None], seed_sd: float | None
) -> list[Warning_]:
    """Everything that a reader of the fit should know, worst first within each budget."""
    found: list[Warning_] = []
    for budget in budgets:
        for valley in (budget.tokens, budget.params):
            found += _of_valley(valley, seed_sd) + _of_interval(valley, budget.lost[valley.axis])
    for axis, law in laws.items():
        if law is None:
            found.append(
                Warning_("no-law", f"{axis}: fewer than 2 budgets have a usable minimum; no law in {axis}")
            )
        elif len(law.flops) == 2:
            found.append(
                Warning_(
                    "two-budgets",
                    f"{axis}: the law rests on 2 budgets, which always lie on a line; its interval knows only "
                    f"the noise inside each: add a budget",
                )
            )
    found += [Warning_("derived-column", note) for note in table.notes if "derived" in note]
    return found + _of_set_aside(table)


def _of_set_aside(table: RunTable) -> list[Warning_]:
    failed = [item.run_id for item in table.set_aside if item.kind == "failed"]
    repeated = len(table.set_aside) - len(failed)
    found = []
    if failed:
        more = f" and {len(failed) - MOST_NAMES} more" if len(failed) > MOST_NAMES else ""
        names = ", ".join(failed[:MOST_NAMES]) + more
        found.append(
            Warning_("failed-runs", f"{len(failed)} runs are not fitted ({names}): train them again")
        )
    if repeated:
        text = f"{repeated} rows repeat another run and are not fitted: see that each run is there once"
        found.append(Warning_("repeated-runs", text))
    return found


def _of_valley(valley: Valley, seed_sd: float | None) -> list[Warning_]:
    def warn(code: str, text: str) -> Warning_:
        return Warning_(code, f"{valley.axis}: {text}", valley.budget)

    if valley.status == "too-few-sizes":
        return [warn("too-few-sizes", "fewer than 3 different sizes; left out of the law: train more")]
    if valley.status == "opens-downward":
        return [
            warn(
                "opens-downward",
                "the parabola has no minimum; left out of the law: look at the runs, widen the grid",
            )
        ]
    if valley.status == "edge-minimum":
        side = "smaller" if valley.coefficients[1] > 0 else "larger"
        return [
            warn(
                "edge-minimum",
                f"the loss is still falling at the edge of the grid; left out of the law: train "
                f"at {side} {valley.axis}",
            )
        ]
    found = []
    if valley.r2 < POOR_R2:
        found.append(
            warn(
                "poor-fit",
                f"R² is {valley.r2:.3f}: the runs do not lie on a parabola; add seeds or narrow the grid",
            )
        )
    if seed_sd is not None and valley.depth < SHALLOW * seed_sd:
        found.append(
            warn(
                "shallow-valley",
                f"the valley is {valley.depth:.4f} nats deep and the seed noise {seed_sd:.4f}; widen the grid or "
                f"add seeds",
            )
        )
    if (share := _place(valley)) is not None and not OFF_CENTRE <= share <= 1 - OFF_CENTRE:
        side = "smaller" if share < OFF_CENTRE else "larger"
        found.append(
            warn(
                "off-centre",
                f"the minimum lies in the outer fifth of the grid; add runs at {side} {valley.axis}",
            )
        )
    return found


def _of_interval(valley: Valley, lost: float) -> list[Warning_]:
    found = []
    if borrows_noise(valley):
        text = (
            "its runs lie on their parabola and say nothing of their noise; its interval borrows that of the other "
            "budgets: add runs"
        )
        found.append(Warning_("few-runs", f"{valley.axis}: {text}", valley.budget))
    if lost > LOST:
        text = (
            f"in {lost:.0%} of the resamples the minimum leaves the grid, so its interval is too narrow; widen the "
            f"grid or add seeds"
        )
        found.append(Warning_("unsure-minimum", f"{valley.axis}: {text}", valley.budget))
    return found


def _place(valley: Valley) -> float | None:
    """Where the minimum lies between the smallest (0) and the largest (1) size, in log."""
    if valley.optimum is None:
        return None
    low, high = np.log(valley.sizes.min()), np.log(valley.sizes.max())
    return float((np.log(valley.optimum) - low) / (high - low))
