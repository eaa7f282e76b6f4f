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
        found += _bias(axis, law)
    return found + _no_surface(surface)


def _carried(axis: str, law: PowerLaw) -> list[Warning_]:
    """Budgets without which α is another; by least squares of the corrected optima."""
    if law.exponent_ci95 is None or len(law.flops) < 3:
        return []
    x, y = np.log(law.flops), np.log(law.optima) - (0.0 if law.shift is None else law.shift)
    rows = np.where(np.eye(len(x) + 1, len(x), k=-1, dtype=bool), np.nan, y)
    all_budgets, *without = ols(x, rows)[:, 1]
    low, high = law.exponent_ci95
    found = []
    for budget, slope in zip(law.flops, without, strict=True):
        moved = law.line.slope + slope - all_budgets
        if not low <= moved <= high and abs(slope - all_budgets) > SEEN:
            found.append(
                Warning_(
                    "carried-by-one-budget",
                    f"{axis}: without this budget α is {moved:.3f}, outside its interval [{low:.3g}, {high:.3g}], so "
                    f"that one budget carries it: look at its runs, add a budget beside it",
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


def _bias(axis: str, law: PowerLaw) -> list[Warning_]:
    corrected = law.corrected_exponent
    if law.exponent_ci95 is None or corrected is None or abs(corrected - law.exponent) <= SEEN:
        return []
    low, high = law.exponent_ci95
    if low <= law.exponent <= high:
        return []
    return [
        Warning_(
            "grid-bias",
            f"{axis}: α = {law.exponent:.3f} lies outside its own interval [{low:.3g}, {high:.3g}], for parabolas on "
            f"this grid miss the minima: use the corrected {corrected:.3f}, or centre the sizes on the optima",
        )
    ]


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
