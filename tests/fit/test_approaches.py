"""Several methods on the same runs: each finds a known law, and what they are sure of holds it."""

from __future__ import annotations

import numpy as np
import pytest

from fit.approaches import window_range
from fit.axis import fit_axis
from fit.isoflop import fit_isoflop
from fit.surface import fit_surface, resampled_surfaces
from fit.valley import AXES, ParabolaOptions
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
