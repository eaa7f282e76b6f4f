"""What the law rests on, as it is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.regression import random_effects
from fit.report.diagnostics_figure import diagnostics_figure, draw_diagnostics
from fit.valley import ParabolaOptions
from tests.simulated import Surface, parabolas


def test_each_budgets_leverage_and_exponent_without_it_are_shown() -> None:
    """Truth: numpy's hat matrix, and the same regression of the other budgets, fitted anew."""
    fit = fit_isoflop(parabolas(noise=0.01), resamples=50)
    law = fit.laws["tokens"]
    assert law is not None
    _, middle, _, other = diagnostics_figure(fit).axes
    x, y = np.log(law.flops), np.log(law.optima) - (0 if law.shift is None else law.shift)
    design = np.stack([np.ones_like(x), x], axis=1)
    hat = design @ np.linalg.pinv(design)
    assert [bar.get_height() for bar in middle.patches[: len(x)]] == pytest.approx(list(np.diag(hat)))
    known = law.covariance
    without = [
        random_effects(
            np.delete(x, i), np.delete(y, i), np.delete(np.delete(known, i, axis=0), i, axis=1)
        ).slope
        for i in range(len(x))
    ]
    shown = next(line for line in other.lines if line.get_marker() == "D")
    assert list(shown.get_ydata()) == pytest.approx(without)


def test_every_approach_has_its_point() -> None:
    fit = fit_isoflop(Surface().runs(span=6, noise=0.003), resamples=50)
    right = diagnostics_figure(fit).axes[2]
    assert [label.get_text() for label in right.get_yticklabels()] == [one.name for one in fit.approaches]
    points = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "D"]
    assert points == [one.laws["tokens"].exponent for one in fit.approaches]


def test_runs_outside_the_window_are_marked() -> None:
    fit = fit_isoflop(parabolas(noise=0.001), resamples=50, options=ParabolaOptions(window=3))
    left = diagnostics_figure(fit).axes[0]
    crosses = sum(len(line.get_xdata()) for line in left.lines if line.get_marker() == "x")
    assert crosses == sum(int((~budget.tokens.used).sum()) for budget in fit.budgets) > 0
    assert left.get_title() == "residuals (x: not fitted)"
    plain = diagnostics_figure(fit_isoflop(parabolas(noise=0.001), resamples=50)).axes[0]
    assert plain.get_title() == "residuals"


def test_the_legend_of_the_residuals_covers_no_run() -> None:
    """Truth: the rectangles that matplotlib draws."""
    figure = diagnostics_figure(fit_isoflop(parabolas(noise=0.01, sizes=20), resamples=50))
    figure.canvas.draw()
    left = figure.axes[0]
    assert left.get_legend().get_window_extent().y1 < left.get_window_extent().y0


def test_it_is_a_picture_or_nothing(tmp_path: Path) -> None:
    fit = fit_isoflop(parabolas(noise=0.01), resamples=50)
    draw_diagnostics(fit, tmp_path / "f.png")
    assert image.imread(tmp_path / "f.png").std() > 0
    with pytest.raises(UserError, match="ends in"):
        draw_diagnostics(fit, tmp_path / "f.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"]
