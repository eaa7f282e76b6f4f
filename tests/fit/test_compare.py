"""Two laws: their difference, how sure it is, and whether the data can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fit.axis import fit_axis
from fit.compare import Comparison, LawComparison, compare_fits, compare_laws
from fit.errors import UserError
from fit.isoflop import IsoflopFit, fit_isoflop
from fit.powerlaw import PowerLaw, fit_power_law
from fit.surface import fit_surface
from fit.table import RunTable
from tests.simulated import BUDGETS, TOKENS, Law, Surface, parabolas

PAIRS = 100


def fitted(runs: RunTable) -> IsoflopFit:
    return fit_isoflop(runs, resamples=0)


def tokens_of(comparison: Comparison) -> LawComparison:
    law = comparison.laws["tokens"]
    assert law is not None
    return law


def scattered(exponent: float, seed: int, budgets: int = 5) -> PowerLaw:
    """A law on optima that scatter by 10% about C^exponent."""
    flops = np.geomspace(1e18, 1e20, budgets)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(budgets)
    return fit_power_law(flops, 1e9 * (flops / 1e18) ** exponent * np.exp(noise))


@settings(max_examples=30, deadline=None)
@given(one=st.integers(3, 12), other=st.integers(3, 12), seed=st.integers(0, 100))
def test_a_difference_has_welchs_error_and_degrees_of_freedom(one: int, other: int, seed: int) -> None:
    """Truth: scipy's regressions, variances added, Satterthwaite's formula, Student's quantile."""
    laws = scattered(0.5, seed, one), scattered(0.6, seed + 1000, other)
    lines = [stats.linregress(np.log(law.flops), np.log(law.optima)) for law in laws]
    variances = [line.stderr**2 for line in lines]
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / (one - 2) + variances[1] ** 2 / (other - 2))
    half = stats.t.ppf(0.975, freedom) * np.sqrt(sum(variances))
    found, difference = compare_laws(*laws, [1e19]).exponent, lines[1].slope - lines[0].slope
    assert found.value == pytest.approx(difference)
    assert found.degrees_of_freedom == pytest.approx(freedom, rel=1e-5)
    assert found.ci95 == pytest.approx((difference - half, difference + half), rel=1e-5)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(difference) / np.sqrt(sum(variances)), freedom))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), flops=st.floats(1e17, 1e26))
def test_the_other_way_round_the_difference_changes_its_sign_and_the_verdict_stands(
    seed: int, flops: float
) -> None:
    one, other = scattered(0.5, seed), scattered(0.55, seed + 1)
    there, back = compare_laws(one, other, [flops]), compare_laws(other, one, [flops])
    assert there.exponent.value == pytest.approx(-back.exponent.value)
    assert there.ratios[0].value == pytest.approx(1 / back.ratios[0].value)
    assert there.ratios[0].ci95 == pytest.approx(
        tuple(1 / end for end in reversed(back.ratios[0].ci95 or ()))
    )
    assert there.p_value == pytest.approx(back.p_value)


def test_intervals_of_differences_hold_the_truth() -> None:
    """Truth: alpha / (alpha + beta) of two known surfaces, and their optima in closed form at 1e22 FLOPs.

    Of 100 pairs 95 are expected; 88 or fewer would have probability 0.004.
    """
    surfaces = Surface(), Surface(alpha=0.32, beta=0.30)
    laws = [surface.tokens_law() for surface in surfaces]
    truth, ratio = laws[1].exponent - laws[0].exponent, laws[1](1e22) / laws[0](1e22)
    held = np.zeros((PAIRS, 2), dtype=bool)
    for pair in range(PAIRS):
        one, other = (
            law_of(surface.runs(sizes=sizes, span=5, noise=0.01, seed=2 * pair + i))
            for i, (surface, sizes) in enumerate(zip(surfaces, (9, 7), strict=True))
        )
        found = compare_laws(one, other, [1e22])
        assert found.exponent.ci95 is not None
        assert found.ratios[0].ci95 is not None
        held[pair] = (
            found.exponent.ci95[0] <= truth <= found.exponent.ci95[1],
            found.ratios[0].ci95[0] <= ratio <= found.ratios[0].ci95[1],
        )
    assert np.all(held.sum(axis=0) > 88)


def law_of(runs: RunTable) -> PowerLaw:
    surface = fit_surface(runs.params, runs.tokens, runs.loss).surface
    law = fit_axis(runs, "tokens", surface=surface).law
    assert law is not None
    return law


def test_equal_laws_are_seldom_told_apart() -> None:
    """Truth: 5 in 100 by the definition of p; Bonferroni keeps it at or below that. 12 would have probability 0.004."""
    apart = [compare_laws(scattered(0.5, seed), scattered(0.5, seed + 5000), []) for seed in range(100)]
    assert sum(law.told_apart is True for law in apart) <= 11


def test_laws_that_differ_in_height_alone_are_told_apart() -> None:
    """Truth: twice the tokens at each budget; α is the same."""
    other = parabolas(Law(2 * TOKENS.coefficient, TOKENS.exponent), noise=0.004, seed=1)
    law = tokens_of(compare_fits(fitted(parabolas(noise=0.004)), fitted(other)))
    assert law.told_apart
    assert law.exponent.ci95 is not None
    assert law.exponent.ci95[0] < 0 < law.exponent.ci95[1]
    assert law.middle.value == pytest.approx(2, rel=0.05)


def test_what_noise_hides_is_said_to_go_unseen() -> None:
    """Truth: the exponents differ by 0.001, in noise that leaves each unsure by more."""
    steeper = Law(
        TOKENS.coefficient * 1.6e19**-1e-3, TOKENS.exponent + 1e-3
    )  # they meet at the middle budget
    other = parabolas(steeper, noise=0.02, seed=1)
    law = tokens_of(compare_fits(fitted(parabolas(noise=0.02)), fitted(other)))
    assert law.told_apart is False
    assert law.exponent.unseen is not None
    assert law.exponent.unseen > 0.001


def test_budgets_default_to_the_ends_that_both_have_and_a_hundred_times_the_largest() -> None:
    first, second = parabolas(budgets=BUDGETS[:4]), parabolas(budgets=BUDGETS[1:], sizes=8, span=5)
    found = compare_fits(fitted(first), fitted(second))
    assert found.flops == (BUDGETS[1], BUDGETS[3], 100 * BUDGETS[4])
    assert tokens_of(found).middle.flops == pytest.approx(np.sqrt(BUDGETS[1] * BUDGETS[3]))
    assert found.cautions == ()


def test_budgets_that_do_not_overlap_are_cautioned_against() -> None:
    found = compare_fits(fitted(parabolas(budgets=BUDGETS[:2])), fitted(parabolas(budgets=BUDGETS[3:])))
    assert found.flops == (BUDGETS[1], BUDGETS[3], 100 * BUDGETS[4])
    assert "one ends at 4e+18 FLOPs where the other begins at 6.4e+19" in found.cautions[0]


def test_other_conventions_vocabularies_and_corrections_are_cautioned_against() -> None:
    runs = parabolas(noise=1e-3)
    size = np.full(len(runs), 50_000.0)
    first = replace(runs, params_convention="body", optional={"vocab_size": size})
    surface = Surface().runs(span=4, noise=1e-3)
    second = replace(
        surface, flops_convention="6nd", optional={"vocab_size": np.full(len(surface), 32_000.0)}
    )
    text = "\n".join(compare_fits(fitted(first), fitted(second)).cautions)
    for part in (
        "params are body in the first and under no named convention in the second",
        "flops are under no named convention in the first and 6nd in the second",
        "the first is not corrected for what a parabola on its grid misses, and the other is",
        "their vocabularies differ in size",
    ):
        assert part in text
    other = replace(first, loss=first.loss + 1e-6)
    assert compare_fits(fitted(first), fitted(other)).cautions == ()


def test_runs_that_both_experiments_have_are_counted_and_cautioned_against() -> None:
    """Truth: a copy shares all 35 runs, one with a fifth of its losses moved shares 28, another noise none."""
    runs = parabolas(noise=0.01)
    moved = replace(runs, loss=np.where(np.arange(35) % 5 == 0, runs.loss + 0.001, runs.loss))
    fits = [fit_isoflop(one, resamples=0) for one in (runs, moved, parabolas(noise=0.01, seed=1))]
    said = [compare_fits(fits[0], other).cautions for other in fits]
    assert said[0][0].startswith(
        "35 of 35 and 35 runs are in both, equal in params, tokens and loss to all digits"
    )
    assert said[1][0].startswith("28 of 35")
    assert said[2] == ()


def test_a_law_on_two_budgets_of_unknown_noise_tells_nothing() -> None:
    """Even where the other's errors are known: half an error is none."""
    bare, whole = fitted(parabolas(sizes=3, budgets=BUDGETS[:2])), fitted(parabolas(noise=0.01))
    law = tokens_of(compare_fits(bare, whole))
    assert (law.told_apart, law.p_value, law.exponent.ci95, law.middle.unseen) == (None, None, None, None)


def test_an_axis_on_which_one_has_no_law_is_not_compared() -> None:
    runs = parabolas()
    flat = replace(runs, params=np.full(len(runs), 1e9))
    assert compare_fits(fitted(runs), fitted(flat)).laws["params"] is None


@pytest.mark.parametrize("flops", [0.0, -1e20, float("nan"), float("inf")])
def test_a_budget_that_is_no_positive_number_is_refused(flops: float) -> None:
    fit = fitted(parabolas())
    with pytest.raises(UserError, match="a positive, finite number of FLOPs is expected"):
        compare_fits(fit, fit, [flops])
