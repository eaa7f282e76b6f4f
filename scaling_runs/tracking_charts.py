"""A sweep's valleys and law as W&B's own charts, of W&B's presets: offline too, and without an account's templates.

The presets have no logarithmic axes, so what is drawn is the logarithm, and the axes say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

AXES = ("tokens", "params")


def valley_points(frame: pd.DataFrame, axis: str) -> dict[str, tuple[list[float], list[float]]]:
    """By budget, (log10 of the sizes, losses) of its finished runs, by size."""
    finished = frame[frame["loss"].notna()].sort_values(axis)
    return {
        f"{budget:.6g} FLOPs": ([math.log10(size) for size in runs[axis]], runs["loss"].tolist())
        for budget, runs in finished.groupby("budget")
    }


def law_points(fit: Mapping[str, Any], axis: str) -> list[tuple[float, float]]:
    """(log10 of the FLOPs, log10 of the optimum) of the budgets that have one. fit: contract 2."""
    optima = [(one["flops"], one[axis]["optimum"]) for one in fit["budgets"]]
    return [(math.log10(flops), math.log10(optimum)) for flops, optimum in optima if optimum is not None]


def charts(frame: pd.DataFrame, fit: Mapping[str, Any]) -> dict[str, Any]:
    """By the name of the panel; valleys and law along tokens and params. frame: the run table."""
    import wandb

    found: dict[str, Any] = {}
    for axis in AXES:
        points = valley_points(frame, axis)
        found[f"valleys_{axis}"] = wandb.plot.line_series(
            xs=[x for x, _ in points.values()],
            ys=[y for _, y in points.values()],
            keys=list(points),
            title=f"isoFLOP valleys along {axis}",
            xname=f"log10 {axis}",
        )
        flops, optimum = "log10 FLOPs", f"log10 optimal {axis}"
        table = wandb.Table(columns=[flops, optimum], data=[list(point) for point in law_points(fit, axis)])
        found[f"law_{axis}"] = wandb.plot.scatter(table, flops, optimum, title=f"optimal {axis} on compute")
    return found
