"""The figure is drawn, and what matters in it can be seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image, pyplot

from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.references import EPOCH, HOFFMANN, LLAMA3
from fit.report.figures import BAND_EDGE, draw_isoflop, isoflop_figure
from tests.simulated import BUDGETS, Law, parabolas

SMALL = [2e11, 4e11, 8e11, 1.6e12]


def test_a_png_is_a_picture_with_something_on_it(tmp_path: Path) -> None:
    draw_isoflop(fit_isoflop(parabolas(noise=0.004), resamples=50), tmp_path / "f.png")
    pixels = image.imread(tmp_path / "f.png")
    assert pixels.shape[0] > 500
    assert pixels.shape[1] > 1000
    assert 0.02 < np.mean(pixels[..., :3].min(axis=2) < 0.9) < 0.5
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_other_formats_are_what_they_say(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"f{suffix}"
    draw_isoflop(fit_isoflop(parabolas(), resamples=50), path)
    assert path.read_bytes().startswith(start)


def test_another_format_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends in '\.gif'; choose one of \.png, \.pdf, \.svg"):
        draw_isoflop(fit_isoflop(parabolas(), resamples=50), tmp_path / "f.gif")
    assert not list(tmp_path.iterdir())


def test_every_run_and_every_minimum_is_on_the_valleys() -> None:
    """Truth: the runs of the table and the optima of the fit."""
    runs = parabolas(noise=0.004)
    fit = fit_isoflop(runs, resamples=50)
    left, _ = isoflop_figure(fit).axes
    points = {(x, y) for line in left.lines if line.get_marker() == "o" for x, y in line.get_xydata()}
    minima = {(x, y) for line in left.lines if line.get_marker() == "D" for x, y in line.get_xydata()}
    assert points == set(zip(runs.tokens, runs.loss, strict=True))
    assert minima == {(budget.tokens.optimum, budget.tokens.optimum_loss) for budget in fit.budgets}


def test_a_valley_that_is_not_used_is_dotted_and_labelled() -> None:
    runs = parabolas()
    loss, tokens = runs.loss.copy(), runs.tokens.copy()
    loss[:7] = 5 - np.linspace(-1, 1, 7) ** 2
    tokens[7:14] = [1e9] * 4 + [2e9] * 3
    fit = fit_isoflop(replace(runs, loss=loss, tokens=tokens), resamples=50)
    left, right = isoflop_figure(fit).axes
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels[:2] == ["1e+18 (opens-downward)", "4e+18 (too-few-sizes)"]
    dotted = [line for line in left.lines if line.get_linestyle() == ":" and len(line.get_xydata())]
    assert [line.get_xydata()[0][0] for line in dotted] == pytest.approx([tokens[0]])
    shown = [line for line in right.lines if line.get_marker() == "D"]
    assert len(shown) == 3


@pytest.mark.parametrize(
    ("law", "where"),
    [
        (Law(0.299, 0.537), ""),
        (Law(3000, 0.4), " (off the picture, below)"),
        (Law(1e-5, 0.6), " (off the picture, above)"),
    ],
)
def test_the_reference_never_squashes_the_fitted_law(law: Law, where: str) -> None:
    """The law and its optima fill at least half of the axis, wherever Llama 3's law lies."""
    fit = fit_isoflop(parabolas(law, budgets=SMALL, noise=0.002), resamples=50)
    _, right = isoflop_figure(fit).axes
    low, high = right.get_ylim()
    fitted = next(line for line in right.lines if line.get_label() == "fitted law").get_ydata()
    assert low < fitted.min()
    assert fitted.max() < high
    assert np.log(fitted.max() / fitted.min()) > 0.5 * np.log(high / low)
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels[0] == "fitted law"
    assert labels[1] == "by plain least squares"
    assert labels[2].startswith("95% band")
    assert labels[3] == f"Llama 3: 0.299·C^0.537{where}"


def test_published_laws_in_the_same_coordinates_are_drawn_as_published() -> None:
    """Truth: the references' own coefficients, at the ends of each line."""
    _, right = isoflop_figure(fit_isoflop(parabolas(noise=0.002), resamples=50)).axes
    drawn = {line.get_label().split(":")[0]: line.get_xydata() for line in right.lines if line.get_label()}
    for law in (LLAMA3, HOFFMANN, EPOCH):
        assert law.tokens_coefficient is not None
        for flops, tokens in drawn[law.title.split(" (")[0]][[0, -1]]:
            assert tokens == pytest.approx(law.tokens_coefficient * flops**law.tokens_exponent)


def test_a_band_that_its_line_would_hide_is_drawn_wider_and_says_so() -> None:
    for noise, edge, label in (
        (1e-6, BAND_EDGE, "95% band, drawn wider than it is"),
        (0.02, 0.0, "95% band"),
    ):
        _, right = isoflop_figure(fit_isoflop(parabolas(noise=noise), resamples=50)).axes
        band = right.collections[0]
        assert (band.get_label(), float(band.get_linewidth()[0])) == (label, edge)


def test_sizes_are_written_with_their_suffix_however_many_decades_there_are() -> None:
    """Truth: budgets from 1e18 to 1e25, whose optima span four decades."""
    figure = isoflop_figure(fit_isoflop(parabolas(budgets=np.geomspace(1e18, 1e25, 15)), resamples=50))
    figure.canvas.draw()
    for axis in (figure.axes[0].xaxis, figure.axes[1].yaxis):
        assert {"10B", "100B"} <= {label.get_text() for label in axis.get_ticklabels()}


def test_the_band_is_the_laws_interval_and_holds_its_line() -> None:
    """Truth: the law's own predictions; drawn over more than a hundredth of the axis, so that it is seen."""
    fit = fit_isoflop(parabolas(budgets=SMALL, noise=0.01), resamples=100)
    law = fit.laws["tokens"]
    assert law is not None
    _, right = isoflop_figure(fit).axes
    edge = right.collections[0].get_paths()[0].vertices
    for flops in (edge[:, 0].min(), edge[:, 0].max()):
        ci95 = law.predict(float(flops)).ci95
        assert ci95 is not None
        here = edge[np.isclose(edge[:, 0], flops), 1]
        assert (here.min(), here.max()) == pytest.approx(ci95)
    low, high = right.get_ylim()
    assert np.log(ci95[1] / ci95[0]) > 0.01 * np.log(high / low)


def test_a_band_of_many_decades_does_not_squash_the_law() -> None:
    """Three scattered budgets: Student's t of one degree of freedom is 12.7."""
    runs = parabolas(budgets=BUDGETS[:3])
    runs = replace(runs, tokens=runs.tokens * np.repeat([1.0, 5.0, 1.0], 7))
    fit = fit_isoflop(runs, resamples=50)
    _, right = isoflop_figure(fit).axes
    low, high = right.get_ylim()
    assert high / low < 1e4


@pytest.mark.parametrize("budgets", [SMALL, SMALL[:2], BUDGETS, list(np.geomspace(1e18, 1e25, 15))])
def test_labels_of_the_axes_are_there_and_never_overlap(budgets: list[float]) -> None:
    """Truth: the rectangles that matplotlib draws the labels in."""
    figure = isoflop_figure(fit_isoflop(parabolas(budgets=budgets), resamples=50))
    figure.canvas.draw()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            boxes = [
                tick.label1.get_window_extent()
                for tick in ticks
                if tick.label1.get_text() and low <= tick.get_loc() <= high
            ]
            assert len(boxes) >= 2
            boxes.sort(key=lambda box: (box.x0, box.y0))
            assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
