"""Several methods on the same runs: each finds a known law, and what they are sure of holds it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fit.approaches import window_range
from fit.axis import fit_axis
from fit.envelope import fit_envelope
from fit.isoflop import fit_isoflop
from fit.report.summary import render
from fit.surface import fit_surface, resampled_surfaces
from fit.valley import AXES, ParabolaOptions
from tests.fit.test_envelope import curves
from tests.simulated import Surface, parabolas


def test_every_approach_finds_the_law_of_a_noise_free_surface() -> None:
    """Truth: the closed form of the surface's optima; grids are centred, so that parabolas miss little of it."""
    known = Surface()
    fit = fit_isoflop(known.runs(span=1.5), resamples=20, predict=[1e23])
    truth = known.tokens_law()
    assert [one.name for one in fit.approaches] == [
        "parabola",
        "parabola, less the grid's bias",
        "parabola, weighted near the minimum",
        "parabola, robust",
        "surface, least squares",
        "surface, Huber in log loss",
    ]
    assert [one.interval for one in fit.approaches] == [
        "plain t",
        "headline",
        "plain t",
        "plain t",
        "residuals",
        "none",
    ]
    assert not any(one.notes for one in fit.approaches)
    for approach in fit.approaches:
        law = approach.laws["tokens"]
        assert law.exponent == pytest.approx(truth.exponent, abs=2e-3), approach.name
        assert law.value(1e23) == pytest.approx(truth(1e23), rel=0.03), approach.name
        assert approach.laws["params"].exponent == pytest.approx(1 - truth.exponent, abs=2e-3), approach.name


def test_the_surfaces_bootstrap_holds_its_own_truth() -> None:
    """Truth: the surface that 60 noisy experiments lie on; 95% of 60 is 57, its standard deviation 1.7."""
    known = Surface()
    exponent = known.alpha / (known.alpha + known.beta)
    held = 0
    for seed in range(60):
        runs = known.runs(span=6, noise=0.01, seed=seed)
        surface = fit_surface(runs.params, runs.tokens, runs.loss).surface
        assert surface is not None
        draws = resampled_surfaces(runs.params, runs.tokens, runs.loss, surface, 200, seed)
        alpha, beta = draws[:, 3], draws[:, 4]
        low, high = np.percentile(alpha / (alpha + beta), [2.5, 97.5])
        held += low <= exponent <= high
    assert 52 <= held <= 60


def test_a_bad_run_moves_the_plain_exponent_and_not_the_robust_one() -> None:
    """Truth: the exponent without the bad run."""
    runs = parabolas(sizes=9, noise=0.001)
    truth = fit_axis(runs, "tokens", surface=None).law
    runs.loss[-1] += 0.2
    plain = fit_axis(runs, "tokens", surface=None).law
    robust = fit_axis(runs, "tokens", surface=None, options=ParabolaOptions(robust=True)).law
    assert truth is not None
    assert plain is not None
    assert robust is not None
    assert abs(plain.exponent - truth.exponent) > 0.01
    assert robust.exponent == pytest.approx(truth.exponent, abs=0.002)


@pytest.mark.parametrize("axis", AXES)
def test_the_window_range_holds_the_law_of_each_window(axis: str) -> None:
    """Truth: fits at each window that leaves every budget a run to spare."""
    runs = Surface().runs(span=6, sizes=13, noise=0.002)
    asked = fit_axis(runs, axis, surface=None).law  # type: ignore[arg-type]
    assert asked is not None
    found = window_range(runs, axis, ParabolaOptions(), asked)  # type: ignore[arg-type]
    assert found is not None
    narrow = fit_axis(runs, axis, surface=None, options=ParabolaOptions(window=4)).law  # type: ignore[arg-type]
    assert narrow is not None
    assert found[0] <= narrow.exponent <= found[1]
    assert found[0] <= asked.exponent <= found[1]
    assert found[0] < found[1]


def test_a_surface_whose_shape_the_valleys_refute_is_said_to_be_so() -> None:
    """Truth: exact parabolas, which are symmetric where a surface's valleys are not; no law is corrected."""
    fit = fit_isoflop(parabolas(noise=1e-3), resamples=20)
    notes = {one.name: one.notes for one in fit.approaches}
    said = "the valleys in tokens and params do not have the surface's shape: trust the parabolas"
    assert notes["surface, least squares"][0] == notes["surface, Huber in log loss"][0] == said
    assert notes["parabola"] == ()
    text = render(fit)
    assert f"surface, least squares: {said}" in text
    assert "residuals, a bootstrap of the noise as if the surface's shape were true" in text


def test_resamples_without_a_surface_are_counted() -> None:
    """Truth: a surface in which tokens hardly count, by noise that often hides them; draws by hand."""
    runs = Surface(b=4.0).runs(span=1.5, noise=0.01, seed=1)
    fit = fit_isoflop(runs, resamples=40)
    assert fit.surface is not None
    assert fit.surface.surface is not None
    found = len(resampled_surfaces(runs.params, runs.tokens, runs.loss, fit.surface.surface, 40, 0))
    assert found < 40
    (note,) = [
        note
        for one in fit.approaches
        if one.interval == "residuals"
        for note in one.notes
        if "resamples" in note
    ]
    assert note == f"{40 - found} of 40 resamples give no surface, so its intervals are too narrow"


def test_what_the_envelope_leaves_out_is_said() -> None:
    """Truth: fit_envelope's own share; and one curve that is a single point."""
    whole = curves()
    point = replace(
        whole[0], run_id="lone", **{name: getattr(whole[0], name)[:1] for name in ("flops", "tokens", "loss")}
    )
    fit = fit_isoflop(parabolas(), resamples=20, curves=[*whole, point])
    (envelope,) = [one for one in fit.approaches if one.interval == "runs"]
    share = fit_envelope([*whole, point], resamples=0).at_edge
    assert share > 0
    assert envelope.notes[0].startswith(f"{share:.0%} of its FLOPs are left out")
    assert envelope.notes[-1] == "lone set aside: a curve of a single point"
