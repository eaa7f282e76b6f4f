"""Charts as plain values: what plotly.js draws, less colours of text and ground, which the page's theme sets.

A trace may carry `meta: {"budget": i}`, by which the page colours it as the i-th of `budgets` from dark to light.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fit.curves import Curve
from fit.isoflop import IsoflopFit
from fit.powerlaw import PowerLaw
from fit.references import DRAWN
from fit.report.figures import law_reach
from fit.report.numbers import short, short_interval
from fit.statistics import Interval
from fit.table import RunTable
from fit.valley import AXES, Axis, Valley

Chart = dict[str, Any]
"""{"data": traces, "layout": layout} of plotly.js."""
AXIS_TITLES = {"tokens": "training tokens D", "params": "params N"}
OPTIMUM_TITLES = {"tokens": "optimal training tokens D*", "params": "optimal params N*"}
LOSS_TITLE = "validation loss (nats per token)"
MOST_CURVES = 300
MOST_POINTS = 120
"""Of one learning curve."""
POINTS = 80
"""Of a parabola."""


def valleys(fit: IsoflopFit, axis: Axis) -> Chart:
    """The runs of each budget, their parabola and its minimum with 95%."""
    traces = []
    for place, budget in enumerate(fit.budgets):
        traces.append(run_trace(fit.table, budget.flops, axis, place))
        traces += parabola_traces(budget.valley(axis), budget.optimum_ci95[axis], place)
    return {"data": traces, "layout": valleys_layout(axis)}


def valleys_layout(axis: Axis) -> dict[str, Any]:
    return _layout(AXIS_TITLES[axis], LOSS_TITLE, "log", "linear")


def run_trace(table: RunTable, flops: float, axis: Axis, place: int) -> dict[str, Any]:
    """The runs of one budget, the `place`-th, as points that say which run they are."""
    chosen = np.flatnonzero(table.budget == flops)
    sizes = table.tokens if axis == "tokens" else table.params
    return {
        "type": "scatter",
        "mode": "markers",
        "x": sizes[chosen].tolist(),
        "y": table.loss[chosen].tolist(),
        "text": [_hover(table, int(i)) for i in chosen],
        "hovertemplate": "%{text}<extra></extra>",
        "name": f"{flops:.3g}",
        "legendgroup": str(place),
        "marker": {"size": 8},
        "meta": {"budget": place},
    }


def _hover(table: RunTable, i: int) -> str:
    """Of a run: its id, what it is, and how it was trained where the table says. plotly.js takes a few tags in it, so
    what the table holds is escaped."""
    lines = [
        f"<b>{html.escape(str(table.run_id[i]))}</b>",
        f"{short(float(table.params[i]))} params, {short(float(table.tokens[i]))} tokens",
        f"{table.flops[i]:.3g} FLOPs, loss {table.loss[i]:.4f}",
    ]
    names = {"lr": "rate", "batch_tokens": "batch", "seed": "seed", "wall_s": "seconds"}
    there = {name: table.optional[name][i] for name in names if name in table.optional}
    trained = [f"{names[name]} {value:.6g}" for name, value in there.items() if np.isfinite(value)]
    return "<br>".join([*lines, *([", ".join(trained)] if trained else [])])


def parabola_traces(valley: Valley, ci95: Interval | None, place: int) -> list[dict[str, Any]]:
    """The parabola of the `place`-th budget, and its minimum where that lies inside; nothing below three sizes."""
    if valley.status == "too-few-sizes":
        return []
    grid = np.geomspace(valley.sizes.min(), valley.sizes.max(), POINTS)
    common = {"type": "scatter", "legendgroup": str(place), "showlegend": False, "meta": {"budget": place}}
    line = {
        **common,
        "mode": "lines",
        "x": grid.tolist(),
        "y": valley.loss_at(grid).tolist(),
        "hoverinfo": "skip",
        "line": {"width": 1.8, "dash": "solid" if valley.interior else "dot"},
    }
    if valley.optimum is None or valley.optimum_loss is None:
        return [line]
    minimum = {
        **common,
        "mode": "markers",
        "x": [valley.optimum],
        "y": [valley.optimum_loss],
        "marker": {"size": 12, "symbol": "diamond", "line": {"width": 1.5}},
        "meta": {"budget": place, "outlined": True},
        "text": [
            (
                f"<b>minimum at {valley.budget:.3g} FLOPs</b><br>{short(valley.optimum)} {valley.axis} "
                f"{short_interval(ci95)}<br>loss {valley.optimum_loss:.4f}"
            )
        ],
        "hovertemplate": "%{text}<extra></extra>",
        **({} if ci95 is None else {"error_x": _error(valley.optimum, ci95)}),
    }
    return [line, minimum]


def _error(value: float, ci95: tuple[float, float]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, ci95[1] - value)],
        "arrayminus": [max(0.0, value - ci95[0])],
        "thickness": 2,
        "width": 5,
    }


def law(fit: IsoflopFit, axis: Axis) -> Chart | None:
    """The optima on compute, the law with its band, and along tokens the published laws; None without a law."""
    found = fit.laws[axis]
    if found is None:
        return None
    traces = [*_law_lines(found), *_optima(fit, axis)]
    if axis == "tokens":
        traces += _references(found)
    return {"data": traces, "layout": _layout("compute C (FLOPs)", OPTIMUM_TITLES[axis], "log", "log")}


def _law_lines(found: PowerLaw) -> list[dict[str, Any]]:
    grid = law_reach(found)
    values = [float(np.exp(found.line.value(float(np.log(flops))))) for flops in grid]
    band = [found.predict(float(flops)).ci95 for flops in grid]
    fitted = f"{found.corrected_coefficient:.3g}·C^{found.corrected_exponent:.3f}"
    lines: list[dict[str, Any]] = []
    known = [one for one in band if one is not None]
    if len(known) == len(band):
        low, high = np.array(known).T
        lines.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [*grid.tolist(), *grid[::-1].tolist()],
                "y": [*high.tolist(), *low[::-1].tolist()],
                "fill": "toself",
                "line": {"width": 0},
                "hoverinfo": "skip",
                "name": "95% band",
                "meta": {"role": "band"},
            }
        )
    lines.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": grid.tolist(),
            "y": values,
            "name": f"fitted: {fitted}",
            "hovertemplate": "%{x:.3g} FLOPs: %{y:.3s}<extra>fitted law</extra>",
            "meta": {"role": "ink"},
        }
    )
    return lines


def _optima(fit: IsoflopFit, axis: Axis) -> list[dict[str, Any]]:
    traces = []
    for place, budget in enumerate(fit.budgets):
        optimum = budget.valley(axis).optimum
        if optimum is None:
            continue
        ci95 = budget.optimum_ci95[axis]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [budget.flops],
                "y": [optimum],
                "marker": {"size": 10, "symbol": "diamond"},
                "text": [
                    f"<b>{budget.flops:.3g} FLOPs</b><br>{short(optimum)} {axis} {short_interval(ci95)}"
                ],
                "hovertemplate": "%{text}<extra></extra>",
                "showlegend": False,
                "meta": {"budget": place},
                **({} if ci95 is None else {"error_y": _error(optimum, ci95)}),
            }
        )
    return traces


def _references(found: PowerLaw) -> list[dict[str, Any]]:
    grid = law_reach(found)
    traces = []
    for place, published in enumerate(DRAWN):
        assert published.tokens_coefficient is not None
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": grid.tolist(),
                "y": (published.tokens_coefficient * grid**published.tokens_exponent).tolist(),
                "name": f"{published.title.split(' (')[0]}: {published.tokens_coefficient:.3g}·C^"
                f"{published.tokens_exponent:.3f}",
                "line": {"dash": ("dash", "dashdot", "dot")[place % 3], "width": 1.5},
                "hoverinfo": "name",
                "visible": True if place == 0 else "legendonly",
                "meta": {"role": f"reference{place}"},
            }
        )
    return traces


def learning_curves(curves: Sequence[Curve], table: RunTable) -> Chart:
    """Validation loss along each run; of more than MOST_CURVES every so manieth, of each at most MOST_POINTS."""
    budgets = {float(flops): place for place, flops in enumerate(table.budgets)}
    of_run: Mapping[str, float] = dict(zip(map(str, table.run_id), map(float, table.budget), strict=True))
    step = -(-len(curves) // MOST_CURVES)
    traces = []
    for curve in curves[::step] if curves else ():
        keep = np.unique(np.linspace(0, len(curve.flops) - 1, MOST_POINTS).round().astype(int))
        place = budgets.get(of_run.get(curve.run_id, np.nan))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": curve.flops[keep].tolist(),
                "y": curve.loss[keep].tolist(),
                "name": html.escape(curve.run_id),
                "line": {"width": 1},
                "hovertemplate": f"<b>{html.escape(curve.run_id)}</b>, {short(curve.params)} params"
                "<br>%{x:.3g} FLOPs, loss %{y:.4f}<extra></extra>",
                "showlegend": False,
                "meta": {"budget": place} if place is not None else {"role": "faint"},
            }
        )
    return {"data": traces, "layout": _layout("FLOPs spent", LOSS_TITLE, "log", "log")}


def charts(fit: IsoflopFit, curves: Sequence[Curve]) -> dict[str, Chart]:
    """By the id of the place in the page that each is drawn in."""
    found: dict[str, Chart | None] = {}
    for axis in AXES:
        found[f"valleys-{axis}"] = valleys(fit, axis)
        found[f"law-{axis}"] = law(fit, axis)
    if curves:
        found["curves"] = learning_curves(curves, fit.table)
    return {name: chart for name, chart in found.items() if chart is not None}


def _layout(x: str, y: str, x_type: str, y_type: str) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x}, "type": x_type},
        "yaxis": {"title": {"text": y}, "type": y_type},
    }
