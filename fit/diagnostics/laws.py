"""What is wrong with the laws: what they rest on, and how the grids bend them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fit.diagnostics.finding import Warning_
from fit.diagnostics.valleys import place
from fit.statistics import ols, student

if TYPE_CHECKING:
    from fit.isoflop import Budget
    from fit.powerlaw import PowerLaw
    from fit.surface import SurfaceFit
    from fit.valley import Valley

DRIFT = 0.2
"""A minimum that moves by more than this share of the grid, in log size, from the first budget to the last."""
SEEN = 5e-4
"""Exponents closer than this are printed alike."""
NOTICEABLE = np.log(1.02)
"""An optimum that is off by less, in log size, costs nothing: a valley is flat at its bottom."""
MOST_LEFT_OUT = 50
"""Budgets of which each is left out in turn; of more, none carries a law."""


def law_findings(
    budgets: Sequence[Budget],
    laws: Mapping[str, PowerLaw | None],
    surface: SurfaceFit | None,
) -> list[Warning_]:
    """Of the laws of both axes, and of the surface that corrects them."""
    found: list[Warning_] = []
    for axis, law in laws.items():
        if law is None:
            found.append(
                Warning_("no-law", f"{axis}: fewer than 2 budgets have a usable minimum; no law in {axis}")
            )
            continue
        if len(law.flops) == 2:
            found.append(
                Warning_(
                    "two-budgets",
                    f"{axis}: the law rests on 2 budgets, which always lie on a line; its interval knows only "
                    f"the noise inside each: add a budget",
                )
            )
        found += _carried(axis, law)
        found += _drift(axis, [budget.tokens if axis == "tokens" else budget.params for budget in budgets])
        found += _outside(axis, law)
    return found + _no_surface(surface)


def _carried(axis: str, law: PowerLaw) -> list[Warning_]:
    """Budgets without which α, by the regression that the headline interval is of, lies outside that interval."""
    if law.exponent_ci95 is None or not 3 <= len(law.flops) <= MOST_LEFT_OUT:
        return []
    low, high = law.exponent_ci95
    found = []
    for i, budget in enumerate(law.flops):
        without = law.corrected_without(i)
        if not low <= without <= high and abs(without - law.corrected_exponent) > SEEN:
            found.append(
                Warning_(
                    "carried-by-one-budget",
                    f"{axis}: without this budget α is {without:.3f}, outside the interval [{low:.3g}, {high:.3g}], so "
                    f"that much hangs on it: look at its runs, add a budget beside it",
                    float(budget),
                )
            )
    return found


def _drift(axis: str, valleys: Sequence[Valley]) -> list[Warning_]:
    """Where the places of the minima follow the budgets, by a t-test of their slope and by more than DRIFT."""
    places = [(np.log(valley.budget), share) for valley in valleys if (share := place(valley)) is not None]
    if len(places) < 3:
        return []
    x, y = np.array(places).T
    intercept, slope = ols(x, y[None])[0]
    residuals = y - intercept - slope * x
    error = np.sqrt(residuals @ residuals / (len(x) - 2) / np.sum((x - x.mean()) ** 2))
    if abs(slope) * np.ptp(x) <= DRIFT or abs(slope) <= student(len(x) - 2) * error:
        return []
    first, last = intercept + slope * x.min(), intercept + slope * x.max()
    return [
        Warning_(
            "grid-drift",
            f"{axis}: from the first budget to the last the minimum moves from {first:.0%} to {last:.0%} of the way "
            f"through the grid, which bends α: centre each budget's sizes on its own optimum",
        )
    ]


def _outside(axis: str, law: PowerLaw) -> list[Warning_]:
    """Where the plain law leaves the headline interval: its exponent, its coefficient, or its height at a budget."""
    what = _left_interval(law)
    if what is None:
        return []
    use = f"use A = {law.corrected_coefficient:.3g}, α = {law.corrected_exponent:.3f}, which the intervals are about"
    if law.shift is None:
        code = "uneven-budgets"
        why = "for it counts all budgets alike, and some are far surer than others"
        mend = "look at the budgets whose intervals are wide"
    else:
        code = "grid-bias"
        why = "for parabolas on this grid miss the minima"
        mend = "centre the sizes on the optima"
    return [Warning_(code, f"{axis}: the plain law's {what}, {why}: {use}, or {mend}")]


def _left_interval(law: PowerLaw) -> str | None:
    """What of the plain law lies outside its interval by more than is printed; None where all is inside."""
    if law.exponent_ci95 is None:
        return None
    low, high = law.exponent_ci95
    if not low <= law.exponent <= high and abs(law.exponent - law.corrected_exponent) > SEEN:
        return f"α = {law.exponent:.3f} lies outside [{low:.3g}, {high:.3g}]"
    for flops in (float(law.flops.min()), float(law.flops.max())):
        estimate = law.predict(flops)
        if estimate.ci95 is None or estimate.corrected is None:
            continue
        low, high = estimate.ci95
        if (
            not low <= estimate.value <= high
            and abs(np.log(estimate.value / estimate.corrected)) > NOTICEABLE
        ):
            return f"{estimate.value:.3g} at {flops:.3g} FLOPs lies outside [{low:.3g}, {high:.3g}]"
    return None


def _no_surface(surface: SurfaceFit | None) -> list[Warning_]:
    """Fewer runs than a surface needs are too few for a law as well."""
    if surface is None or surface.surface is not None:
        return []
    return [
        Warning_(
            "no-surface",
            f"no surface L(N, D) can be laid through the runs ({surface.reason}), so no law is corrected for what a "
            f"parabola on this grid misses: add sizes and budgets",
        )
    ]
