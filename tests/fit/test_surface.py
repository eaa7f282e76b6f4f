"""A known surface is found again; its optima are where its loss is lowest; what no surface fits has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares, minimize_scalar

from fit.errors import UserError
from fit.surface import OBJECTIVES, Objective, Surface, fit_surface
from fit.table import load_runs
from tests import simulated


@settings(max_examples=25, deadline=None)
@given(
    alpha=st.floats(0.15, 0.7),
    beta=st.floats(0.15, 0.7),
    floor=st.floats(0.0, 3.0),
    objective=st.sampled_from(OBJECTIVES),
)
def test_a_known_surface_is_found_again(
    alpha: float, beta: float, floor: float, objective: Objective
) -> None:
    """Truth: the surface that the runs lie on; each term is half a nat at 1e9 params and 2e10 tokens."""
    known = simulated.Surface(floor, 0.5 * 1e9**alpha, 0.5 * 2e10**beta, alpha, beta)
    runs = known.runs(span=6)
    found = fit_surface(runs.params, runs.tokens, runs.loss, objective)
    assert found.surface is not None
    assert found.converged
    assert found.residual_sd < 1e-7
    assert (found.surface.alpha, found.surface.beta) == pytest.approx((alpha, beta), rel=1e-4)
    assert found.surface.floor == pytest.approx(floor, abs=1e-4)
    assert found.surface.exponents["tokens"] == pytest.approx(alpha / (alpha + beta), rel=1e-4)


def test_llama_3s_own_points_give_the_exponent_of_a_surface(llama3_points: Path) -> None:
    """Truth: 0.497, what a surface of least squares through these points gives for tokens."""
    runs = load_runs(llama3_points)
    found = fit_surface(runs.params, runs.tokens, runs.loss)
    assert found.surface is not None
    assert found.surface.exponents["tokens"] == pytest.approx(0.497, abs=5e-4)


def test_no_other_solver_finds_less(llama3_points: Path) -> None:
    """Truth: scipy's trust-region solver on all five unknowns, from 20 starts, in squares and in Huber's loss."""
    runs = load_runs(llama3_points)
    x, y = (np.log(s) - np.log(s).mean() for s in (runs.params, runs.tokens))

    def loss(unknowns: np.ndarray) -> np.ndarray:
        floor, a, b, alpha, beta = np.exp(unknowns)
        return np.asarray(floor + a * np.exp(-alpha * x) + b * np.exp(-beta * y))

    def huber(residuals: np.ndarray) -> float:
        size = np.abs(residuals)
        return float(np.sum(np.where(size <= 1e-3, size**2 / 2, 1e-3 * (size - 5e-4))))

    random = np.random.default_rng(0)
    best = {"squared": np.inf, "huber": np.inf}
    for _ in range(20):
        start = np.log([0.5, 0.2, 0.2, 0.3, 0.3]) + random.normal(0, 0.5, 5)
        squares = least_squares(lambda u: loss(u) - runs.loss, start, xtol=1e-14, ftol=1e-14, gtol=1e-14)
        best["squared"] = min(best["squared"], 2 * squares.cost)
        robust = least_squares(
            lambda u: np.log(loss(u) / runs.loss),
            squares.x,
            loss="huber",
            f_scale=1e-3,
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        best["huber"] = min(best["huber"], huber(np.log(loss(robust.x) / runs.loss)))
    squared, robust_fit = (fit_surface(runs.params, runs.tokens, runs.loss, o) for o in OBJECTIVES)
    assert squared.surface is not None
    assert robust_fit.surface is not None
    residuals = squared.surface.loss(runs.params, runs.tokens) - runs.loss
    assert residuals @ residuals <= best["squared"] * (1 + 1e-9)
    logs = np.log(robust_fit.surface.loss(runs.params, runs.tokens) / runs.loss)
    assert huber(logs) <= best["huber"] * (1 + 1e-6)


def test_optima_are_where_the_loss_is_lowest_on_a_budget() -> None:
    """Truth: scipy's bounded search along C = 6·N·D."""
    surface = Surface(1.69, 406.4, 410.7, 0.34, 0.28)
    for flops in (1e18, 1e21, 1e25):
        found = minimize_scalar(
            lambda log_params, flops=flops: float(
                surface.loss(np.exp(log_params), flops / (6 * np.exp(log_params)))
            ),
            bounds=(np.log(1e6), np.log(1e13)),
            method="bounded",
            options={"xatol": 1e-10},
        )
        optima = surface.optima(flops)
        assert np.log(optima["params"]) == pytest.approx(found.x, abs=1e-4)
        assert optima["loss"] == pytest.approx(found.fun, rel=1e-12)
        assert 6 * optima["params"] * optima["tokens"] == pytest.approx(flops)


@pytest.mark.parametrize("axis", ["params", "tokens"])
@pytest.mark.parametrize("exponent", [0.2, 0.3, 0.4])
@pytest.mark.parametrize("span", [2, 6])
def test_losses_that_do_not_fall_with_a_size_have_no_surface(axis: str, exponent: float, span: float) -> None:
    """Truth: the losses know nothing of the other size; rounding is no reason to believe that they do."""
    runs = simulated.Surface().runs(span=span)
    sizes, other = (runs.tokens, "params") if axis == "tokens" else (runs.params, "tokens")
    found = fit_surface(runs.params, runs.tokens, 3 + 1e3 * sizes**-exponent)
    assert found.surface is None
    assert f"the losses do not fall with {other}" == found.reason


def test_five_runs_are_too_few_for_five_unknowns() -> None:
    runs = simulated.Surface().runs(span=6)
    with pytest.raises(UserError, match="5 unknowns and there are 5 runs"):
        fit_surface(runs.params[:5], runs.tokens[:5], runs.loss[:5])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": np.append(np.full(8, 3.0), np.nan)}, "loss of run 8 is nan; a positive, finite number"),
        ({"params": -np.ones(9)}, r"params of run 0 is -1\.0; a positive, finite number"),
        ({"tokens": np.ones(7)}, "there are 9 params, 7 tokens and 9 losses; give one of each a run"),
        ({"objective": "hubber"}, "the objective is 'hubber'; choose one of squared, huber"),
    ],
)
def test_arguments_that_can_not_be_used_are_refused_by_name(changed: dict[str, Any], message: str) -> None:
    sizes = np.geomspace(1e8, 1e10, 9)
    arguments: dict[str, Any] = {"params": sizes, "tokens": sizes, "loss": np.full(9, 3.0), **changed}
    with pytest.raises(UserError, match=message):
        fit_surface(**arguments)
