"""The two figures of Llama 3's section 3.2.1 (arXiv 2407.21783): the valleys (2) and the law (3), in one picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit.errors import UserError
from fit.isoflop import IsoflopFit
from fit.powerlaw import PowerLaw
from fit.references import LLAMA3
from fit.report.numbers import interval
from fit.result import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".pdf", ".svg")


def draw_isoflop(fit: IsoflopFit, path: Path) -> None:
    """Draw `fit` into `path`, whose ending (.png, .pdf or .svg) is its format. UserError for another ending."""
    if path.suffix not in FORMATS:
        raise UserError(f"figure '{path}' ends in '{path.suffix}'; choose one of {', '.join(FORMATS)}")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = [matplotlib.colormaps["viridis"](share) for share in np.linspace(0, 0.88, len(fit.budgets))]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5.4), layout="constrained")
    _draw_valleys(left, fit, colours)
    _draw_law(right, fit, colours)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=150)
    pyplot.close(figure)
    write_atomically(path, content.getvalue())


def _draw_valleys(axes: Axes, fit: IsoflopFit, colours: list[Any]) -> None:
    for budget, colour in zip(fit.budgets, colours, strict=True):
        valley = budget.tokens
        axes.plot(valley.sizes, valley.losses, "o", color=colour, markersize=5, alpha=0.85)
        axes.plot([], [], "-o", color=colour, markersize=5, label=f"{budget.flops:.3g}")
        if valley.status == "too-few-sizes":
            continue
        grid = np.geomspace(valley.sizes.min(), valley.sizes.max(), 200)
        axes.plot(grid, valley.loss_at(grid), "-", color=colour, linewidth=1.6, alpha=0.85)
        if valley.optimum is not None:
            axes.plot(valley.optimum, valley.optimum_loss, "D", color="crimson", markersize=7, zorder=5)
    axes.plot([], [], "D", color="crimson", markersize=7, label="minimum")
    axes.set_xscale("log")
    axes.set_xlabel("training tokens D")
    axes.set_ylabel("validation loss (nats per token)")
    axes.set_title("isoFLOP valleys")
    axes.legend(title="compute (FLOPs)", fontsize=9, title_fontsize=9)
    axes.grid(alpha=0.25, which="both")


def _draw_law(axes: Axes, fit: IsoflopFit, colours: list[Any]) -> None:
    law = fit.laws["tokens"]
    assert law is not None
    _draw_band(axes, law)
    for budget, colour in zip(fit.budgets, colours, strict=True):
        if budget.tokens.optimum is None:
            continue
        ci95 = budget.optimum_ci95["tokens"]
        if ci95 is not None:
            axes.plot([budget.flops] * 2, ci95, "-", color=colour, linewidth=2)
        axes.plot(budget.flops, budget.tokens.optimum, "D", color=colour, markersize=7, zorder=5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("compute C (FLOPs)")
    axes.set_ylabel("optimal training tokens D*")
    axes.set_title(f"D* = {law.coefficient:.3g}·C^{law.exponent:.3f}, 95% of α {interval(law.exponent_ci95)}")
    axes.legend(fontsize=9)
    axes.grid(alpha=0.25, which="both")


def _draw_band(axes: Axes, law: PowerLaw) -> None:
    margin = (law.flops.max() / law.flops.min()) ** 0.15
    grid = np.geomspace(law.flops.min() / margin, law.flops.max() * margin, 60)
    estimates = [law.predict(float(flops)) for flops in grid]
    axes.plot(grid, [estimate.value for estimate in estimates], "-", color="black", label="fitted law")
    band = [estimate.ci95 for estimate in estimates if estimate.ci95 is not None]
    if len(band) == len(grid):
        low, high = np.array(band).T
        axes.fill_between(grid, low, high, color="black", alpha=0.12, linewidth=0, label="95% band")
    assert LLAMA3.tokens_coefficient is not None
    reference = LLAMA3.tokens_coefficient * grid**LLAMA3.tokens_exponent
    axes.plot(grid, reference, "--", color="tab:orange", label="Llama 3: 0.299·C^0.537")
