"""The surface's unknowns are found from any start, and are those that a second solver finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from fit.varpro import _nonnegative, fit_separable, scan_exponents
from tests.simulated import Surface


def centred(sizes: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(sizes) - np.log(sizes).mean())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_coefficients_are_those_of_nonnegative_least_squares(seed: int) -> None:
    """Truth: scipy.optimize.nnls, on columns whose solution is often at its bound."""
    random = np.random.default_rng(seed)
    columns = np.abs(random.standard_normal((20, 3)))
    losses = columns @ random.choice([0.0, 1.0, -1.0], 3) + 0.3 * random.standard_normal(20)
    found, gain = _nonnegative((columns.T @ columns)[None], (columns.T @ losses)[None])
    truth, residual = nnls(columns, losses)
    assert found[0] == pytest.approx(truth, abs=1e-8)
    assert losses @ losses - gain[0] == pytest.approx(residual**2, abs=1e-8)


def test_every_start_ends_at_the_same_minimum() -> None:
    """Truth: the lowest sum of squares that any of 200 starts, over two decades of exponents, comes to."""
    runs = Surface().runs(span=6, noise=0.01, seed=3)
    x, y = centred(runs.params), centred(runs.tokens)
    starts = np.exp(np.random.default_rng(0).uniform(np.log(0.02), np.log(2.5), (200, 2)))
    found = fit_separable(x, y, np.repeat(runs.loss[None], 200, axis=0), np.ones(len(runs)), starts)
    assert found.converged.all()
    assert found.squares == pytest.approx(found.squares.min(), rel=1e-9)
    assert found.exponents == pytest.approx(np.repeat(found.exponents[:1], 200, axis=0), rel=1e-4)


def test_a_batch_is_its_samples_one_by_one() -> None:
    runs = Surface().runs(span=6)
    x, y, weight = centred(runs.params), centred(runs.tokens), np.ones(len(runs))
    losses = runs.loss + 0.01 * np.random.default_rng(1).standard_normal((5, len(runs)))
    start = np.full((5, 2), 0.3)
    together = fit_separable(x, y, losses, weight, start)
    for i in range(5):
        alone = fit_separable(x, y, losses[i : i + 1], weight, start[:1])
        assert alone.exponents[0] == pytest.approx(together.exponents[i], rel=1e-6)
        assert alone.squares[0] == pytest.approx(together.squares[i], rel=1e-9)


def test_the_scan_names_low_points_near_the_truth() -> None:
    runs = Surface().runs(span=6)
    starts = scan_exponents(centred(runs.params), centred(runs.tokens), runs.loss, np.ones(len(runs)), 4)
    assert len(starts) <= 4
    assert np.log(starts[0]) == pytest.approx(np.log([0.34, 0.28]), abs=0.15)
