"""The bootstrap: it covers a known law as often as it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fit.axis import fit_axis
from fit.intervals import bootstrap_laws
from fit.isoflop import fit_isoflop
from fit.surface import fit_surface
from fit.table import RunTable
from fit.valley import Valley, fit_valley
from tests.simulated import BUDGETS, TOKENS, parabolas

EXPERIMENTS = 100


def valleys_of(runs: RunTable) -> list[Valley]:
    return [fit_valley(runs, float(flops), "tokens") for flops in runs.budgets]


@pytest.mark.parametrize(("sizes", "noise"), [(5, 0.01), (7, 0.01), (9, 0.02)])
def test_intervals_cover_the_law_and_the_optima_as_often_as_they_say(sizes: int, noise: float) -> None:
    """Truth: the law that 100 noisy experiments obey; 95% of 100 is 95, its standard deviation 2.2.

    Bare percentiles hold the optimum of a budget of 7 runs 88 times in 100, of 5 runs 81 times.
    """
    laws = optima = predictions = 0
    for seed in range(EXPERIMENTS):
        runs = parabolas(sizes=sizes, noise=noise, seed=seed)
        surface = fit_surface(runs.params, runs.tokens, runs.loss).surface
        fitted = fit_axis(runs, "tokens", surface=surface, resamples=400)
        law = fitted.law
        assert law is not None
        assert law.exponent_ci95 is not None
        laws += law.exponent_ci95[0] <= TOKENS.exponent <= law.exponent_ci95[1]
        ci95 = law.predict(1e22).ci95
        assert ci95 is not None
        predictions += ci95[0] <= TOKENS(1e22) <= ci95[1]
        for valley, ci95 in zip(fitted.valleys, fitted.bootstrap.optimum_ci95, strict=True):
            assert ci95 is not None
            assert valley.optimum is not None
            assert ci95[0] <= valley.optimum <= ci95[1]
            optima += ci95[0] <= TOKENS(valley.budget) <= ci95[1]
    assert laws >= 90
    assert predictions >= 90
    assert 0.92 <= optima / (EXPERIMENTS * len(BUDGETS)) <= 0.98


def test_the_spread_of_the_draws_is_that_of_experiments_done_anew() -> None:
    """Truth: the standard deviation of ln D* over 400 experiments, each with noise of its own.

    Residuals that least squares has shrunk, at 7 runs by sqrt(4/7), would give 0.76 of it.
    """
    anew, drawn = [], []
    for seed in range(400):
        valley = valleys_of(parabolas(noise=0.01, budgets=BUDGETS[:1], seed=seed))[0]
        assert valley.optimum is not None
        anew.append(np.log(valley.optimum))
        if seed < 60:
            draws = bootstrap_laws([valley], 200, seed).draws
            assert draws is not None
            drawn.append(np.var(np.log(draws)))
    assert np.sqrt(np.mean(drawn)) == pytest.approx(np.std(anew), rel=0.12)


def test_intervals_shrink_to_the_optimum_without_noise() -> None:
    fit = fit_isoflop(parabolas(), resamples=100)
    for budget in fit.budgets:
        assert budget.optimum_ci95["tokens"] == pytest.approx((TOKENS(budget.flops),) * 2, rel=1e-6)


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    valleys = valleys_of(parabolas(noise=0.01))
    first, again, other = (bootstrap_laws(valleys, 100, seed).draws for seed in (0, 0, 1))
    assert first is not None
    assert other is not None
    assert np.array_equal(first, again)  # type: ignore[arg-type]
    assert not np.array_equal(first, other)


def test_the_order_of_the_rows_changes_no_draw() -> None:
    """Truth: the same runs the other way round."""
    runs = parabolas(noise=0.01, seeds=2)
    columns = ("budget", "flops", "params", "tokens", "loss", "run_id")
    back = replace(runs, **{name: getattr(runs, name)[::-1] for name in columns})
    draws, other = (bootstrap_laws(valleys_of(one), 100, 0).draws for one in (runs, back))
    assert draws is not None
    assert other == pytest.approx(draws, rel=1e-9)


def test_of_many_runs_the_draws_are_as_wide_as_their_noise_says() -> None:
    """Truth: the noise of single runs carried through the derivative of the minimum; 4,000 draws know it to 1.1%."""
    valley = valleys_of(parabolas(sizes=1500, noise=0.01, budgets=BUDGETS[:1]))[0]
    draws = bootstrap_laws([valley], 4000, 0).draws
    assert draws is not None
    assert valley.optimum is not None
    width = 0.01 * np.linalg.norm(valley.minimum_gradient(valley.coefficients))
    assert np.std(np.log(draws)) == pytest.approx(width, rel=0.05)
    assert np.mean(np.log(draws)) == pytest.approx(np.log(valley.optimum), abs=0.1 * width)


def test_three_runs_say_nothing_of_their_noise_and_never_claim_to_be_sure() -> None:
    """Three runs lie on their parabola, so their residuals are 0 whatever the noise."""
    fit = fit_isoflop(parabolas(sizes=3, noise=0.01), resamples=100)
    law = fit.laws["tokens"]
    assert law is not None
    assert law.parts["within"] is None
    assert law.exponent_ci95 == pytest.approx(law.parts["between"], abs=1e-3)
    assert all(budget.optimum_ci95["tokens"] is None for budget in fit.budgets)


def test_a_valley_of_three_runs_borrows_the_noise_of_the_others() -> None:
    """Truth: its interval is as wide, to a factor of 2, as that of another three runs whose noise is known: the same
    curvature and span, 0.01 nats."""
    runs = parabolas(sizes=9, noise=0.01, seed=4)
    kept = (runs.budget != BUDGETS[0]) | np.isin(np.arange(len(runs)), [0, 4, 8])
    thinned = replace(
        runs,
        **{
            name: getattr(runs, name)[kept]
            for name in ("budget", "flops", "params", "tokens", "loss", "run_id")
        },
    )
    fit = fit_isoflop(thinned, resamples=1000)
    ci95 = fit.budgets[0].optimum_ci95["tokens"]
    assert ci95 is not None
    anew = [
        valleys_of(parabolas(sizes=3, noise=0.01, budgets=BUDGETS[:1], seed=seed))[0].optimum
        for seed in range(300)
    ]
    width = 2 * 1.96 * np.std(np.log([optimum for optimum in anew if optimum is not None]))
    assert width / 2 < np.log(ci95[1] / ci95[0]) < 2 * width
    assert {w.code for w in fit.warnings if w.budget == BUDGETS[0]} == {"few-runs", "one-sided"}


def test_resamples_without_a_minimum_are_counted_and_never_filled_in() -> None:
    """A shallow valley under much noise: some draws open downward or leave the grid."""
    valleys = valleys_of(parabolas(noise=0.05, curvature=0.03, span=3, seed=9))
    bootstrap = bootstrap_laws(valleys, 300, 0)
    usable = [valley for valley in valleys if valley.optimum is not None]
    assert bootstrap.draws is not None
    assert bootstrap.draws.shape == (300, len(usable))
    lost = np.isnan(bootstrap.draws).mean(axis=0)
    assert lost.max() > 0.05
    assert [share for share, v in zip(bootstrap.lost, valleys, strict=True) if v.optimum is not None] == list(
        lost
    )
    for i, valley in enumerate(usable):
        there = bootstrap.draws[:, i][~np.isnan(bootstrap.draws[:, i])]
        assert np.all((there > valley.sizes.min()) & (there < valley.sizes.max()))


def test_repeats_of_each_size_narrow_the_interval() -> None:
    """Truth: four times the runs, half the standard error."""

    def width(seeds: int) -> float:
        tables = [parabolas(noise=0.01, seeds=seeds, seed=s) for s in range(12)]
        laws = [fit_axis(runs, "tokens", surface=None, resamples=200).law for runs in tables]
        return float(
            np.median(
                [
                    law.parts["within"][1] - law.parts["within"][0]
                    for law in laws
                    if law is not None and law.parts["within"]
                ]
            )
        )

    assert width(4) / width(1) == pytest.approx(0.5, abs=0.12)
