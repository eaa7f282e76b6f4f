"""What a parabola on a grid misses is what the surface on that grid says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from fit.axis import fit_axis
from fit.bias import BudgetCurve, grid_bias
from fit.surface import Surface, fit_surface
from fit.table import RunTable
from fit.valley import AXES, Axis, fit_valley
from tests import simulated

TRUTH = Surface(1.69, 406.4, 410.7, 0.34, 0.28)
BUDGETS = np.geomspace(1e18, 1e21, 5)


def drifting(noise: float = 0.0, seed: int = 0) -> RunTable:
    """Grids whose centres go from a quarter of the optimum to 4 times the optimum, 6x to each side."""
    miss = np.geomspace(0.25, 4, len(BUDGETS))
    centre = np.array([TRUTH.optima(flops)["params"] for flops in BUDGETS]) * miss
    params = centre[:, None] * np.geomspace(1 / 6, 6, 9)
    budget = np.repeat(BUDGETS, 9)
    tokens = budget / (6 * params.ravel())
    loss = TRUTH.loss(params.ravel(), tokens) + noise * np.random.default_rng(seed).standard_normal(45)
    return simulated.table(budget, params.ravel(), tokens, loss)


@pytest.mark.parametrize("axis", AXES)
def test_a_drifting_grid_bends_the_exponent_and_its_correction_straightens_it(axis: Axis) -> None:
    """Truth: the exponent of the surface that the noise-free runs lie on."""
    runs = drifting()
    surface = fit_surface(runs.params, runs.tokens, runs.loss).surface
    law = fit_axis(runs, axis, surface=surface).law
    assert law is not None
    assert abs(law.exponent - TRUTH.exponents[axis]) > 0.001
    assert law.corrected_exponent == pytest.approx(TRUTH.exponents[axis], abs=1e-5)
    estimate = law.predict(1e23)
    assert estimate.corrected == pytest.approx(TRUTH.optima(1e23)[axis], rel=1e-4)


def test_an_exact_count_of_flops_moves_the_optimum_along_its_own_curve() -> None:
    """Truth: scipy's bounded search of the surface's loss on C = k(N)·N·D, k = 6·(1 + 1000/sqrt(N))."""
    params = np.geomspace(1e7, 1e10, 40)
    count = 6 * np.exp(0.3 - 0.01 * np.log(params) + 1e-3 * np.log(params) ** 2)
    flops = 1e20
    runs = simulated.table(np.full(40, flops), params, flops / (count * params), np.ones(40))
    curve = BudgetCurve.of(runs)

    def tokens(log_params: float) -> float:
        return float(
            flops / (6 * np.exp(0.3 - 0.01 * log_params + 1e-3 * log_params**2) * np.exp(log_params))
        )

    found = minimize_scalar(
        lambda x: float(TRUTH.loss(np.exp(x), np.array(tokens(x)))),
        bounds=(np.log(1e7), np.log(1e10)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    found_by_curve = curve.log_optima(TRUTH.unknowns[None], np.log(np.array([flops])))
    optima = {axis: values[0] for axis, values in found_by_curve.items()}
    assert optima["params"][0] == pytest.approx(found.x, abs=1e-5)
    assert optima["tokens"][0] == pytest.approx(np.log(tokens(found.x)), abs=1e-5)


def test_its_derivatives_by_the_losses_are_those_of_fits_done_anew() -> None:
    """Truth: finite differences through a whole new surface fit."""
    runs = drifting(noise=0.003)
    valleys = [fit_valley(runs, float(flops), "tokens") for flops in BUDGETS]
    curve = BudgetCurve.of(runs)

    def shift(loss: np.ndarray) -> np.ndarray:
        surface = fit_surface(runs.params, runs.tokens, loss).surface
        assert surface is not None
        found = grid_bias(replace(runs, loss=loss), valleys, surface, curve)
        assert found is not None
        return found.shift

    surface = fit_surface(runs.params, runs.tokens, runs.loss).surface
    assert surface is not None
    found = grid_bias(runs, valleys, surface, curve)
    assert found is not None
    direction = np.random.default_rng(0).standard_normal(len(runs))
    by_fits = (shift(runs.loss + 1e-5 * direction) - shift(runs.loss - 1e-5 * direction)) / 2e-5
    assert found.gradient @ direction == pytest.approx(by_fits, rel=0.1, abs=0.02 * np.abs(by_fits).max())
