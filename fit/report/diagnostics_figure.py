"""What the law rests on, in one picture: residuals, what each budget carries, and the approaches side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit.isoflop import IsoflopFit
from fit.report.canvas import budget_colours, label_log_axis, new_figure, require_format, save
from fit.report.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_diagnostics(fit: IsoflopFit, path: Path) -> None:
    """Draw into `path`, whose ending (.png, .pdf or .svg) is its format. UserError for another ending."""
    require_format("figure", path)
    save(diagnostics_figure(fit), path)


def diagnostics_figure(fit: IsoflopFit) -> Figure:
    """Residuals, leverage, approaches."""
    figure, (left, middle, right) = new_figure(3, width=18)
    _draw_residuals(left, fit)
    _draw_leverage(middle, fit)
    _draw_approaches(right, fit)
    return figure


def _draw_residuals(axes: Axes, fit: IsoflopFit) -> None:
    """Of each run about its parabola; a pattern that all budgets share is the valley's asymmetry."""
    for budget, colour in zip(fit.budgets, budget_colours(fit), strict=True):
        valley = budget.tokens
        if valley.optimum is None:
            continue
        order = np.argsort(valley.sizes)
        sizes, used = valley.sizes[order], valley.used[order]
        residuals = valley.losses[order] - valley.loss_at(sizes)
        place = sizes / valley.optimum
        axes.plot(place[used], residuals[used], "-", color=colour, linewidth=0.8, alpha=0.35)
        axes.plot(place[used], residuals[used], "o", color=colour, markersize=4, alpha=0.85)
        axes.plot(place[~used], residuals[~used], "x", color=colour, markersize=5)
        axes.plot([], [], "o-", color=colour, markersize=4, label=f"{budget.flops:.3g}")
    if fit.run_noise is not None:
        axes.axhspan(
            -2 * fit.run_noise.sd,
            2 * fit.run_noise.sd,
            color="grey",
            alpha=0.15,
            linewidth=0,
            label="2 sd of the runs' noise",
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("tokens over the budget's optimum")
    axes.set_ylabel("loss less parabola (nats per token)")
    outside = any(not budget.tokens.used.all() for budget in fit.budgets if budget.tokens.optimum is not None)
    axes.set_title("residuals" + (" (x: not fitted)" if outside else ""))
    axes.legend(  # below, for inside it would cover runs
        title="compute (FLOPs)",
        fontsize=8,
        title_fontsize=8,
        ncols=4,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
    )
    label_log_axis(axes.xaxis, short)
    axes.grid(alpha=0.25)


def _draw_leverage(axes: Axes, fit: IsoflopFit) -> None:
    """The exponent without each budget, by the regression that the interval is of, and how much each pulls the line."""
    law = fit.laws["tokens"]
    assert law is not None
    places = np.arange(len(law.flops))
    axes.bar(places, law.leverage, color="lightsteelblue", width=0.6)
    axes.set_xticks(places, [f"{flops:.2g}" for flops in law.flops], rotation=45, ha="right")
    axes.set_ylim(0, 1)
    axes.set_ylabel("leverage (bars)")
    axes.set_xlabel("compute of the budget (FLOPs)")
    axes.set_title("what each budget carries")
    if len(places) < 3:
        return
    other: Any = axes.twinx()
    without = [law.corrected_without(int(i)) for i in places]
    other.plot(places, without, "D", color="crimson", markersize=6, label="α without the budget")
    other.axhline(law.corrected_exponent, color="black", linewidth=1, label="α")
    if law.exponent_ci95 is not None:
        other.axhspan(*law.exponent_ci95, color="grey", alpha=0.15, linewidth=0, label="95% of α")
    other.set_ylabel("α of tokens")
    other.legend(fontsize=8)


def _draw_approaches(axes: Axes, fit: IsoflopFit) -> None:
    """The exponent of tokens by each approach; the headline interval behind."""
    law = fit.laws["tokens"]
    assert law is not None
    if law.exponent_ci95 is not None:
        axes.axvspan(*law.exponent_ci95, color="grey", alpha=0.15, linewidth=0, label="headline 95%")
    rows = [(one.name, one.laws["tokens"]) for one in fit.approaches if "tokens" in one.laws]
    for place, (_, found) in enumerate(rows):
        if found.exponent_ci95 is not None:
            axes.plot(found.exponent_ci95, [place, place], "-", color="steelblue", linewidth=2)
        axes.plot(found.exponent, place, "D", color="crimson", markersize=7)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("α of tokens")
    axes.set_title("approaches side by side")
    axes.grid(alpha=0.25, axis="x")
    if law.exponent_ci95 is not None:
        axes.legend(fontsize=9)
