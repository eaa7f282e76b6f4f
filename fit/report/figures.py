"""The two figures of Llama 3's section 3.2.1 (arXiv 2407.21783): the valleys (2) and the law (3), in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit.isoflop import IsoflopFit
from fit.powerlaw import PowerLaw
from fit.references import DRAWN
from fit.report.canvas import budget_colours, label_log_axis, new_figure, require_format, save
from fit.report.numbers import interval, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND_ROWS = 12
BAND_SHOWN = 5.0
"""The band is shown to this factor beyond the law and its optima, which a wider one would squash."""

NARROW = 0.015
"""Of the axis, in log; the law's own line would hide a band that is narrower."""
BAND_EDGE = 6.0
"""Points; the edge of such a band, so that it is seen on both sides of the line."""
REFERENCE_STYLES = (("--", "tab:orange", 1.5), ("-.", "tab:green", 0.9), (":", "tab:purple", 1.1))
"""Of DRAWN: line, colour, width in points."""


def draw_isoflop(fit: IsoflopFit, path: Path) -> None:
    """Draw `fit` into `path`, whose ending (.png, .pdf or .svg) is its format. UserError for another ending."""
    require_format("figure", path)
    save(isoflop_figure(fit), path)


def isoflop_figure(fit: IsoflopFit) -> Figure:
    """The valleys, and the law."""
    colours = budget_colours(fit)
    figure, (left, right) = new_figure(2, width=13)
    _draw_valleys(left, fit, colours)
    _draw_law(right, fit, colours)
    return figure


def _draw_valleys(axes: Axes, fit: IsoflopFit, colours: list[Any]) -> None:
    for budget, colour in zip(fit.budgets, colours, strict=True):
        valley = budget.tokens
        label = f"{budget.flops:.3g}" + ("" if valley.interior else f" ({valley.status})")
        style = "-" if valley.interior else ":"  # a parabola that no minimum is read off
        axes.plot(valley.sizes, valley.losses, "o", color=colour, markersize=5, alpha=0.85)
        axes.plot([], [], style, marker="o", color=colour, markersize=5, label=label)
        if valley.status == "too-few-sizes":
            continue
        grid = np.geomspace(valley.sizes.min(), valley.sizes.max(), 200)
        axes.plot(grid, valley.loss_at(grid), style, color=colour, linewidth=1.6, alpha=0.85)
        if valley.optimum is not None and valley.optimum_loss is not None:
            axes.plot(valley.optimum, valley.optimum_loss, "D", color="crimson", markersize=7, zorder=5)
            if (ci95 := budget.optimum_ci95["tokens"]) is not None:
                axes.plot(ci95, [valley.optimum_loss] * 2, "-", color="crimson", linewidth=2.5, alpha=0.6)
    axes.plot([], [], "D-", color="crimson", markersize=7, label="minimum, 95%")
    axes.set_xscale("log")
    axes.set_xlabel("training tokens D")
    axes.set_ylabel("validation loss (nats per token)")
    axes.set_title("isoFLOP valleys")
    columns = 1 if len(fit.budgets) <= LEGEND_ROWS else 2
    axes.legend(title="compute (FLOPs)", fontsize=9, title_fontsize=9, ncols=columns, loc="best")
    label_log_axis(axes.xaxis, short)
    _grid(axes)


def _draw_law(axes: Axes, fit: IsoflopFit, colours: list[Any]) -> None:
    law = fit.laws["tokens"]
    assert law is not None
    axes.set_xscale("log")
    axes.set_yscale("log")
    seen = _draw_band(axes, law)
    for budget, colour in zip(fit.budgets, colours, strict=True):
        if budget.tokens.optimum is None:
            continue
        ci95 = budget.optimum_ci95["tokens"]
        if ci95 is not None:
            axes.plot([budget.flops] * 2, ci95, "-", color=colour, linewidth=2)
            seen += ci95
        axes.plot(budget.flops, budget.tokens.optimum, "D", color=colour, markersize=7, zorder=5)
    room = (max(seen) / min(seen)) ** 0.05
    axes.set_ylim(min(seen) / room, max(seen) * room)
    _draw_references(axes, law)
    axes.set_xlabel("compute C (FLOPs)")
    axes.set_ylabel("optimal training tokens D*")
    fitted = f"D* = {law.corrected_coefficient:.3g}·C^{law.corrected_exponent:.3f}"
    axes.set_title(f"{fitted}, 95% of α {interval(law.exponent_ci95)}")
    axes.legend(fontsize=9, loc="upper left")
    label_log_axis(axes.xaxis, "{:.3g}".format)
    label_log_axis(axes.yaxis, short)
    _grid(axes)


def _draw_band(axes: Axes, law: PowerLaw) -> list[float]:
    """The law and its band; heights that the axis should show. A band of decades, as of three budgets, is cut off."""
    grid = law_reach(law)
    estimates = [law.predict(float(flops)) for flops in grid]
    values = [float(np.exp(law.line.value(float(np.log(flops))))) for flops in grid]
    axes.plot(grid, values, "-", color="black", label="fitted law")
    plain = [estimate.value for estimate in estimates]
    axes.plot(grid, plain, ":", color="black", linewidth=1, label="by plain least squares")
    seen = [*values, *(float(optimum) for optimum in law.optima)]
    band = [estimate.ci95 for estimate in estimates if estimate.ci95 is not None]
    if len(band) == len(grid):
        low, high = np.array(band).T
        narrow = np.log(high / low).max() < NARROW * np.log(max(seen) / min(seen))
        axes.fill_between(
            grid,
            low,
            high,
            color="steelblue",
            alpha=0.25,
            linewidth=BAND_EDGE if narrow else 0,
            label="95% band" + (", drawn wider than it is" if narrow else ""),
        )
        seen += [
            max(float(low.min()), min(seen) / BAND_SHOWN),
            min(float(high.max()), max(seen) * BAND_SHOWN),
        ]
    return seen


def _draw_references(axes: Axes, law: PowerLaw) -> None:
    """Published laws, on the axes that the fit has set: where one lies off them, the legend says so."""
    grid = law_reach(law)
    low, high = axes.get_ylim()
    for published, (style, colour, width) in zip(DRAWN, REFERENCE_STYLES, strict=True):
        assert published.tokens_coefficient is not None
        reference = published.tokens_coefficient * grid**published.tokens_exponent
        name = published.title.split(" (")[0]
        label = f"{name}: {published.tokens_coefficient:.3g}·C^{published.tokens_exponent:.3f}"
        if reference.max() < low or reference.min() > high:
            label += f" (off the picture, {'below' if reference.max() < low else 'above'})"
        axes.plot(grid, reference, style, color=colour, linewidth=width, label=label)


def law_reach(law: PowerLaw) -> np.ndarray:
    """(60,) FLOPs of the budgets and a little beyond."""
    margin = (law.flops.max() / law.flops.min()) ** 0.15
    return np.geomspace(law.flops.min() / margin, law.flops.max() * margin, 60)


def _grid(axes: Axes) -> None:
    axes.grid(alpha=0.35, which="major")
    axes.grid(alpha=0.12, which="minor")
