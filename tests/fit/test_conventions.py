"""One law a way to count: what is counted otherwise obeys the law that follows from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from fit.conventions import ConventionFit, recount
from fit.isoflop import IsoflopFit, fit_isoflop
from fit.table import RunTable
from fit.valley import AXES
from tests.simulated import Surface, parabolas

SURFACE = Surface()


def counted(runs: RunTable) -> RunTable:
    """`runs` with the columns of two conventions each; exact FLOPs are more than 6ND at small models."""
    return replace(
        runs,
        params_under={"body": runs.params, "all": runs.params + 3e4 * np.cbrt(runs.params)},
        params_convention="body",
        flops_under={"6nd": runs.flops, "exact": exact(runs.params, runs.tokens)},
        flops_convention="6nd",
    )


def exact(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return np.asarray(6 * params * tokens * (1 + (params / 1e8) ** -0.3))


def row(fit: IsoflopFit, params: str | None, flops: str | None) -> ConventionFit:
    return next(one for one in fit.conventions if (one.params, one.flops) == (params, flops))


def test_every_pair_of_conventions_has_its_laws_and_the_tables_own_are_the_headlines() -> None:
    """Truth: the headline laws, to the last bit."""
    fit = fit_isoflop(counted(SURFACE.runs(span=4, noise=0.002)), predict=[1e22], resamples=0)
    assert [(one.params, one.flops) for one in fit.conventions] == [
        ("body", "6nd"),
        ("body", "exact"),
        ("all", "6nd"),
        ("all", "exact"),
    ]
    own = row(fit, "body", "6nd")
    assert [one.own for one in fit.conventions] == [True, False, False, False]
    assert own.laws == fit.laws
    assert [one.optima for one in own.predictions] == [one.optima for one in fit.predictions]


def test_params_counted_otherwise_obey_the_exponent_that_follows() -> None:
    """Truth: N·C^0.1 obeys the exponent of N plus 0.1, and tokens do not hang on how params are counted."""
    runs = parabolas()
    under = {"body": runs.params, "all": runs.params * (runs.budget / 1e18) ** 0.1}
    fit = fit_isoflop(replace(runs, params_under=under, params_convention="body"), resamples=0)
    body, other = row(fit, "body", None).laws, row(fit, "all", None).laws
    assert body["params"] is not None
    assert body["tokens"] is not None
    assert other["params"] is not None
    assert other["tokens"] is not None
    assert other["params"].exponent == pytest.approx(body["params"].exponent + 0.1, abs=1e-9)
    assert other["tokens"].exponent == body["tokens"].exponent


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(0.1, 10), power=st.floats(0.8, 1.2))
def test_flops_counted_as_a_power_of_the_nominal_ones_change_the_law_in_closed_form(
    factor: float, power: float
) -> None:
    """Truth: D = A·C^α and C' = factor·C^power give α' = α / power, at any size alike."""
    runs = parabolas()
    fit = fit_isoflop(replace(runs, flops_under={"other": factor * runs.flops**power}), resamples=0)
    for axis in AXES:
        own, other = row(fit, None, None).laws[axis], row(fit, None, "other").laws[axis]
        assert own is not None
        assert other is not None
        assert other.exponent == pytest.approx(own.exponent / power, abs=1e-9)


def test_a_budget_is_worth_what_its_optimum_costs() -> None:
    """Truth: exact FLOPs of the very optimum; log FLOPs are nearly linear in log size between two runs."""
    runs = parabolas(sizes=9)
    for axis in AXES:
        again = recount(runs, axis, exact(runs.params, runs.tokens))
        for nominal, budget in zip(runs.budgets, again.budgets, strict=True):
            tokens = 0.299 * nominal**0.537
            assert budget == pytest.approx(float(exact(nominal / (6 * tokens), tokens)), rel=5e-3)
        assert len(np.unique(again.budget)) == len(runs.budgets)


def test_a_budget_without_an_optimum_stays_a_budget_of_its_own() -> None:
    runs = parabolas()
    loss = np.where(runs.budget == runs.budgets[0], 10 - runs.loss, runs.loss)
    hill = replace(runs, loss=loss)
    again = recount(hill, "tokens", 3 * runs.flops)
    assert again.budgets == pytest.approx(3 * runs.budgets)
    assert fit_isoflop(replace(hill, flops_under={"other": 3 * runs.flops}), resamples=0).conventions


def test_corrected_laws_are_those_of_the_surface_under_the_other_count() -> None:
    """Truth: the lowest loss of the known surface at equal exact FLOPs, found by scipy; runs are on equal 6ND."""
    fit = fit_isoflop(counted(SURFACE.runs(span=4)), resamples=0)
    laws = row(fit, "body", "exact").laws
    assert laws["tokens"] is not None
    optima = np.array([optimum_under_exact(flops) for flops in laws["tokens"].flops])
    for axis, column in (("params", 0), ("tokens", 1)):
        law = laws[axis]
        assert law is not None
        truth = np.polyfit(np.log(laws["tokens"].flops), np.log(optima[:, column]), 1)[0]
        assert law.corrected_exponent == pytest.approx(truth, abs=2e-3)
        assert abs(law.exponent - truth) > 5e-3  # the plain minima are those on equal 6ND


def optimum_under_exact(flops: float) -> tuple[float, float]:
    """Params and tokens."""

    def tokens(log_params: float) -> float:
        params = np.exp(log_params)
        return float(flops / exact(params, np.array(1.0)))

    def loss(log_params: float) -> float:
        return float(SURFACE.loss(np.exp(log_params), np.array(tokens(log_params))))

    bottom = minimize_scalar(loss, bounds=(np.log(1e5), np.log(1e13)), method="bounded").x
    return float(np.exp(bottom)), tokens(bottom)


def test_without_columns_there_is_no_table() -> None:
    assert fit_isoflop(parabolas(), resamples=0).conventions == ()


def test_a_column_that_no_convention_names_has_a_row_of_its_own() -> None:
    """A table whose params equal none of its params_* columns."""
    runs = parabolas()
    fit = fit_isoflop(replace(runs, params_under={"all": runs.params * 2}), resamples=0)
    assert [(one.params, one.own) for one in fit.conventions] == [(None, True), ("all", False)]
