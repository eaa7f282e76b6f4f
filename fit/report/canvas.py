"""What the figures share: their formats, colours and axes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit.errors import UserError
from fit.result import write_atomically

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from fit.isoflop import IsoflopFit

FORMATS = (".png", ".pdf", ".svg")
FEW_DECADES = 300.0


def require_format(name: str, path: Path) -> None:
    """UserError where `path` ends in none of FORMATS."""
    if path.suffix not in FORMATS:
        raise UserError(f"{name} '{path}' ends in '{path.suffix}'; choose one of {', '.join(FORMATS)}")


def new_figure(panels: int, width: float) -> tuple[Figure, Any]:
    """A figure that no window shows, and its panels in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, panels)


def save(figure: Figure, path: Path) -> None:
    """Write `figure` in the format of the path's ending, to a temporary name first."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=150)
    write_atomically(path, content.getvalue())


def budget_colours(fit: IsoflopFit) -> list[Any]:
    """One a budget, dark to light."""
    import matplotlib

    return [matplotlib.colormaps["viridis"](share) for share in np.linspace(0, 0.88, len(fit.budgets))]


def label_log_axis(axis: Axis, text: Callable[[float], str]) -> None:
    """Labels that do not run into each other: at 1, 2 and 5 where the axis spans few decades, else at the decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high < low * FEW_DECADES:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, position: text(value)))
    axis.set_minor_formatter(NullFormatter())
