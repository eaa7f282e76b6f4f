"""Valleys, and laws over them: a known law is found again, and what has no minimum has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.backtest import Backtest, backtests
from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.powerlaw import PowerLaw
from fit.seeds import seed_noise
from fit.table import RunTable, SetAside, load_runs
from fit.valley import AXES, Valley, fit_valley
from tests.simulated import BUDGETS, TOKENS, Law, Surface, parabolas, table


def law_of(runs: RunTable, axis: str = "tokens") -> PowerLaw:
    law = fit_isoflop(runs, resamples=0).laws[axis]
    assert law is not None
    return law


def with_losses(runs: RunTable, budget: float, losses: np.ndarray) -> RunTable:
    loss = runs.loss.copy()
    loss[runs.budget == budget] = losses
    return replace(runs, loss=loss)


def test_llama_3s_own_points_give_its_published_law(llama3_points: Path) -> None:
    """Truth: A = 0.299, α = 0.537 and 16.55T tokens at 3.8e25 FLOPs (arXiv 2407.21783, section 3.2.1).

    Without the budget of 1e22 the exponent is 0.511: it is the lower end of leaving one out.
    """
    fit = fit_isoflop(load_runs(llama3_points), predict=[3.8e25])
    law = fit.laws["tokens"]
    assert law is not None
    assert f"{law.coefficient:.3f} {law.exponent:.3f}" == "0.299 0.537"
    assert fit.predictions[0].optima["tokens"].value == pytest.approx(16.55e12, rel=0.05)
    assert [(budget.flops, budget.tokens.status) for budget in fit.budgets] == [
        (flops, "ok") for flops in (6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21, 1e22)
    ]
    assert law.parts["leave_one_out"] is not None
    assert law.parts["leave_one_out"][0] == pytest.approx(0.511, abs=5e-4)
    assert law.exponent_ci95 is not None
    assert law.exponent_ci95[0] < 0.537 < law.exponent_ci95[1]


@settings(max_examples=8, deadline=None)
@given(
    exponent=st.floats(0.2, 0.9),
    centre=st.floats(0.5, 2.0),
    curvature=st.floats(0.005, 0.5),
    sizes=st.integers(3, 12),
    seeds=st.integers(1, 3),
)
def test_a_law_is_recovered_from_exact_parabolas(
    exponent: float, centre: float, curvature: float, sizes: int, seeds: int
) -> None:
    """Truth: the law that the runs obey; params obey N* = C / (6·D*)."""
    known = Law(1e9 / 1e18**exponent, exponent)
    runs = parabolas(known, centre=centre, curvature=curvature, sizes=sizes, seeds=seeds)
    fit = fit_isoflop(runs, resamples=0, predict=[1e22])
    tokens, params = fit.laws["tokens"], fit.laws["params"]
    assert tokens is not None
    assert params is not None
    assert tokens.exponent == pytest.approx(exponent, abs=1e-6)
    assert np.log(tokens.coefficient) == pytest.approx(np.log(known.coefficient), abs=1e-6 * 45)
    assert params.exponent == pytest.approx(1 - exponent, abs=1e-6)
    for budget in fit.budgets:
        assert budget.tokens.optimum == pytest.approx(known(budget.flops), rel=1e-6)
        assert budget.params.optimum == pytest.approx(budget.flops / (6 * known(budget.flops)), rel=1e-6)
        assert budget.tokens.r2 == pytest.approx(1, abs=1e-9)
        assert budget.tokens.depth == pytest.approx(
            curvature * np.log(6 / max(centre, 1 / centre)) ** 2, rel=1e-5
        )
    assert fit.predictions[0].optima["tokens"].value == pytest.approx(known(1e22), rel=1e-4)


def test_hoffmanns_surface_has_the_exponent_that_its_own_exponents_give() -> None:
    """Truth: alpha / (alpha + beta), eq. 4 of arXiv 2203.15556; a parabola over a narrow grid sees the bottom alone."""
    surface = Surface()
    law, known = law_of(surface.runs()), surface.tokens_law()
    assert known.exponent == pytest.approx(0.548, abs=5e-4)
    assert law.exponent == pytest.approx(known.exponent, abs=1e-4)
    assert law.value(1e20) == pytest.approx(known(1e20), rel=0.02)


def test_each_axis_is_fitted_on_its_own_and_neither_is_derived() -> None:
    """Truth: tokens moved by a factor leave the params law untouched to the last bit, and the other way round."""
    runs = parabolas(noise=0.003)
    moved = replace(runs, tokens=runs.tokens * 7)
    assert law_of(moved, "params").exponent == law_of(runs, "params").exponent
    assert law_of(moved, "params").coefficient == law_of(runs, "params").coefficient
    assert law_of(moved).coefficient == pytest.approx(7 * law_of(runs).coefficient)
    other = replace(runs, params=runs.budget**0.7 / runs.tokens)
    assert law_of(other, "params").exponent != pytest.approx(1 - law_of(other).exponent, abs=0.05)


def test_the_minimum_is_that_of_numpys_own_polynomial() -> None:
    """Truth: numpy.polynomial.Polynomial.fit in log10 tokens, on noisy runs."""
    runs = parabolas(noise=0.01, budgets=[1e18])
    valley = fit_valley(runs, 1e18, "tokens")
    polynomial = np.polynomial.Polynomial.fit(np.log10(runs.tokens), runs.loss, 2)
    bottom = polynomial.deriv().roots()[0]
    assert valley.optimum == pytest.approx(10**bottom, rel=1e-9)
    assert valley.optimum_loss == pytest.approx(polynomial(bottom), rel=1e-12)
    residuals = runs.loss - polynomial(np.log10(runs.tokens))
    assert valley.r2 == pytest.approx(1 - residuals.var() / runs.loss.var(), rel=1e-9)


def test_scaling_the_tokens_scales_the_optima_and_leaves_the_exponent() -> None:
    runs = parabolas(noise=0.01)
    scaled = replace(runs, tokens=runs.tokens * 1e-6)
    assert law_of(scaled).exponent == pytest.approx(law_of(runs).exponent, rel=1e-9)
    assert law_of(scaled).coefficient == pytest.approx(law_of(runs).coefficient * 1e-6, rel=1e-6)


def test_a_parabola_that_opens_downward_leaves_the_regression() -> None:
    """Truth: the law of the other four budgets, which is exact."""
    runs = parabolas()
    hill = 5 - 0.05 * np.linspace(-1, 1, 7) ** 2
    fit = fit_isoflop(with_losses(runs, BUDGETS[2], hill), resamples=50)
    law = fit.laws["tokens"]
    assert fit.budgets[2].tokens.status == fit.budgets[2].params.status == "opens-downward"
    assert fit.budgets[2].tokens.optimum is None
    assert fit.budgets[2].optimum_ci95 == {"tokens": None, "params": None}
    assert law is not None
    assert list(law.flops) == [BUDGETS[0], BUDGETS[1], BUDGETS[3], BUDGETS[4]]
    assert law.exponent == pytest.approx(TOKENS.exponent, abs=1e-6)


@pytest.mark.parametrize("centre", [8.0, 1 / 8.0])
def test_a_minimum_past_the_edge_of_its_grid_leaves_the_regression(centre: float) -> None:
    """Truth: the law of the other four budgets; the grid spans 6x to each side and is 8x off."""
    runs, off = parabolas(), parabolas(centre=centre)
    swapped = runs.budget == BUDGETS[4]
    runs = replace(
        runs,
        tokens=np.where(swapped, off.tokens, runs.tokens),
        params=np.where(swapped, off.params, runs.params),
        loss=np.where(swapped, off.loss, runs.loss),
    )
    fit = fit_isoflop(runs, resamples=0)
    assert [budget.tokens.status for budget in fit.budgets] == ["ok"] * 4 + ["edge-minimum"]
    assert fit.budgets[4].params.status == "edge-minimum"
    assert law_of(runs).exponent == pytest.approx(TOKENS.exponent, abs=1e-6)


@pytest.mark.parametrize(
    "losses",
    [
        np.full(7, 3.0),
        3 + 4e-16 * np.array([1, 0, 0, 0, 0, 0, 1]),
        np.linspace(3, 4, 7),
        np.linspace(4, 3, 7),
    ],
)
def test_a_flat_or_straight_valley_has_no_minimum(losses: np.ndarray) -> None:
    fit = fit_isoflop(with_losses(parabolas(), BUDGETS[0], losses), resamples=0)
    assert fit.budgets[0].tokens.status in ("opens-downward", "edge-minimum")
    assert fit.budgets[0].tokens.optimum is None


def test_two_sizes_are_too_few_however_often_they_are_run() -> None:
    """A size that differs by a rounding error is no third one."""
    runs = parabolas(budgets=BUDGETS[:3])
    first = np.flatnonzero(runs.budget == BUDGETS[0])
    tokens = runs.tokens.copy()
    tokens[first] = [1e9, 1e9, 1e9 + 1, 2e9, 2e9, 2e9, 2e9]
    fit = fit_isoflop(replace(runs, tokens=tokens), resamples=0)
    assert fit.budgets[0].tokens.status == "too-few-sizes"
    assert fit.budgets[0].params.status == "ok"
    assert fit.budgets[0].tokens.optimum is None
    assert [w.code for w in fit.warnings if w.budget == BUDGETS[0]] == ["too-few-sizes"]


def test_no_budget_with_three_sizes_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(
        UserError, match=r"has 5 budgets, none of them with 3 different sizes.*--column budget=NAME"
    ):
        fit_isoflop(parabolas(sizes=2))


def test_a_column_of_each_runs_own_flops_is_no_column_of_budgets() -> None:
    """Truth: the numbers of budgets and runs, before anything is fitted."""
    with pytest.raises(UserError, match=r"has 3000 budgets among 6000 runs.*--column budget=NAME"):
        fit_isoflop(parabolas(budgets=tuple(np.geomspace(1e18, 1e21, 3000)), sizes=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predict": [1e22, 0.0]}, r"the budget to predict at is 0\.0; a positive, finite number"),
        ({"predict": [-1.0]}, r"the budget to predict at is -1\.0"),
        ({"predict": [float("nan")]}, "the budget to predict at is nan"),
        ({"seed": -1}, "the seed is -1; give 0 or more"),
        ({"resamples": -5}, "resamples is -5; give 10 or more, or 0 for no bootstrap"),
        ({"resamples": 1}, "resamples is 1; give 10 or more"),
    ],
)
def test_arguments_that_can_not_be_used_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit_isoflop(parabolas(), **arguments)


def test_where_there_is_no_law_many_runs_set_aside_are_told() -> None:
    """Truth: 20 of 25 rows set aside, most of them for one reason."""
    aside = tuple(SetAside(f"run {i}", "status crashed" if i < 15 else "logged twice") for i in range(20))
    few = parabolas(budgets=BUDGETS[:1], sizes=5)
    with pytest.raises(
        UserError, match=r"; 20 of 25 runs are set aside, 15 of them because: status crashed$"
    ):
        fit_isoflop(replace(few, set_aside=aside))
    with pytest.raises(UserError, match=r"add budgets$"):
        fit_isoflop(few)


@pytest.mark.parametrize("budgets", [BUDGETS[:1], BUDGETS[:2]])
def test_fewer_than_two_usable_budgets_are_an_error_that_names_each(budgets: tuple[float, ...]) -> None:
    runs = with_losses(parabolas(budgets=budgets), budgets[0], -(np.linspace(-1, 1, 7) ** 2) + 5)
    with pytest.raises(UserError, match=r"fewer than 2 budgets.*1e\+18 FLOPs: opens-downward"):
        fit_isoflop(runs)


def test_a_law_in_tokens_stands_without_one_in_params() -> None:
    """All models of one size: tokens have valleys, params have none."""
    runs = parabolas()
    fit = fit_isoflop(replace(runs, params=np.full(len(runs), 1e9)), predict=[1e21], resamples=50)
    assert fit.laws["params"] is None
    assert fit.laws["tokens"] is not None
    assert set(fit.predictions[0].optima) == {"tokens"}
    assert "no-law" in {warning.code for warning in fit.warnings}


def test_seed_noise_is_the_pooled_deviation_of_repeats() -> None:
    """Truth: by hand, a pair 0.02 apart has the variance 0.0002 (one degree of freedom)."""
    runs = parabolas(seeds=2)
    assert seed_noise(parabolas()) is None
    loss = runs.loss + np.tile([0.01, -0.01], len(runs) // 2)
    noise = seed_noise(replace(runs, loss=loss))
    assert noise is not None
    assert noise.sd == pytest.approx(np.sqrt(0.0002), rel=1e-9)
    assert noise.degrees_of_freedom == 35


def test_the_back_test_predicts_the_top_budget_from_the_others() -> None:
    """Truth: on an exact law the top is met; where its optimum is 2x the law's, half of it is predicted."""
    runs = parabolas()
    exact = back_tested(runs)
    assert [(one.held_out, one.held_out_flops) for one in exact] == [(1, BUDGETS[-1]), (2, BUDGETS[-1])]
    for one in exact:
        assert values_of(one) == pytest.approx({"tokens": 1, "params": 1}, rel=1e-6)
    shifted = replace(runs, tokens=np.where(runs.budget == BUDGETS[-1], 2 * runs.tokens, runs.tokens))
    for one in back_tested(shifted):
        assert values_of(one) == pytest.approx({"tokens": 0.5, "params": 1}, rel=1e-6)
    assert [one.held_out for one in back_tested(parabolas(budgets=BUDGETS[:4]))] == [1]
    assert back_tested(parabolas(budgets=BUDGETS[:3])) == ()


def test_a_back_test_is_of_one_top_budget() -> None:
    """Tokens have a minimum at the top and params, whose valley there is a hill, do not: nothing is said of them."""
    runs = parabolas()
    valleys = {axis: [fit_valley(runs, float(flops), axis) for flops in runs.budgets] for axis in AXES}
    hill = replace(runs, loss=np.where(runs.budget == BUDGETS[-1], 10 - runs.loss, runs.loss))
    valleys["params"][-1] = fit_valley(hill, BUDGETS[-1], "params")
    for one in backtests(valleys):
        assert (one.held_out_flops, list(one.ratios)) == (BUDGETS[-1], ["tokens"])


def values_of(backtest: Backtest) -> dict[str, float]:
    return {axis: ratio.value for axis, ratio in backtest.ratios.items()}


def test_a_back_test_says_what_chance_would_do() -> None:
    """Truth: 95% of 400 laws whose optima scatter by 10% predict their top budget within the interval; sd 1.1%."""
    random, held = np.random.default_rng(0), 0
    flops = np.geomspace(1e18, 1e20, 6)
    for _ in range(400):
        optima = 0.3 * flops**0.54 * np.exp(0.1 * random.standard_normal(6))
        valleys = [a_valley(float(c), float(d)) for c, d in zip(flops, optima, strict=True)]
        ratio = backtests({"tokens": valleys})[0].ratios["tokens"]
        assert ratio.ci95 is not None
        held += ratio.ci95[0] <= ratio.value <= ratio.ci95[1]
    assert 0.92 <= held / 400 <= 0.98


def a_valley(flops: float, optimum: float) -> Valley:
    """An exact parabola about `optimum`."""
    tokens = optimum * np.array([0.25, 0.5, 1.0, 2.0, 4.0])
    runs = table(np.full(5, flops), flops / (6 * tokens), tokens, 3 + 0.05 * np.log(tokens / optimum) ** 2)
    return fit_valley(runs, flops, "tokens")


def back_tested(runs: RunTable) -> tuple[Backtest, ...]:
    return backtests(
        {axis: [fit_valley(runs, float(flops), axis) for flops in runs.budgets] for axis in AXES}
    )


def test_the_fit_is_the_same_whatever_the_order_of_the_rows() -> None:
    runs = parabolas(noise=0.01)
    order = np.random.default_rng(1).permutation(len(runs))
    shuffled = table(runs.budget[order], runs.params[order], runs.tokens[order], runs.loss[order])
    for axis in AXES:
        assert law_of(shuffled, axis).exponent == pytest.approx(law_of(runs, axis).exponent, rel=1e-12)
