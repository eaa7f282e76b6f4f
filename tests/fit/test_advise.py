"""A law and a budget give what to train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.advise import advise, flops_for_loss, widening
from fit.check import check
from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.laws import load_law
from fit.result import write_fit
from tests.simulated import Surface, parabolas


@pytest.mark.parametrize(
    ("flops", "tokens", "params"), [(3.8e25, "1.63e+13", "3.89e+11"), (5.44e22, "4.84e+11", "1.87e+10")]
)
def test_llama_3s_law_gives_what_its_rounded_numbers_give(flops: float, tokens: str, params: str) -> None:
    """Truth: 0.299·C^0.537, and params by C = 6·N·D: 16.3T and 389B at 3.8e25, 484B and 18.7B at 5.44e22."""
    found = advise(load_law("llama3"), flops)
    assert (f"{found.tokens:.3g}", f"{found.params:.3g}", found.params_from) == (tokens, params, "C = 6ND")


def test_seven_billion_on_ten_trillion_is_far_off_and_seventy_on_one_is_near() -> None:
    """Truth: by hand: 4.2e23 FLOPs, D* = 0.299·C^0.537 = 1.45T, N* = C / (6·D*) = 48B, 10T / 1.45T = 6.9."""
    far, near = check(load_law("llama3"), 7e9, 10e12), check(load_law("llama3"), 70e9, 1e12)
    assert far.advice.flops == near.advice.flops == pytest.approx(4.2e23)
    assert far.advice.tokens == pytest.approx(1.45e12, rel=0.005)
    assert far.advice.params == pytest.approx(48e9, rel=0.01)
    assert far.tokens_ratio == pytest.approx(6.9, abs=0.05)
    assert far.params_ratio == pytest.approx(1 / far.tokens_ratio)
    assert 0.6 < near.tokens_ratio < 1


def test_chinchilla_is_near_its_own_law_with_params_of_its_own() -> None:
    """Truth: arXiv 2203.15556 trains 70B on 1.4T; approach 3 puts the optimum of Gopher's 5.76e23 FLOPs at 40B."""
    found = advise(load_law("hoffmann"), 5.76e23)
    assert found.params_from == "the law's own params"
    assert 30e9 < found.params < 45e9
    assert found.params * found.tokens * 6 == pytest.approx(5.76e23, rel=1e-6)


@given(st.floats(15, 28))
def test_an_optimum_checks_as_the_optimum(exponent: float) -> None:
    law = load_law("llama3")
    found = advise(law, 10**exponent)
    again = check(law, found.params, found.tokens)
    assert again.tokens_ratio == pytest.approx(1)
    assert again.params_ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("flops", "decades"), [(1e24, 2.0), (6e17, 1.0), (1e20, 0.0), (6e18, 0.0), (1e-300, 318.778)]
)
def test_how_far_a_law_is_stretched_is_in_decades_beyond_its_data(flops: float, decades: float) -> None:
    """Truth: Llama 3's budgets, 6e18 to 1e22."""
    assert advise(load_law("llama3"), flops).decades_beyond == pytest.approx(decades, abs=1e-3)


def test_advice_by_ones_own_fit_is_what_that_fit_predicts(tmp_path: Path) -> None:
    """Truth: the fit's own corrected prediction and interval, by way of the JSON; the plain law stands beside it."""
    runs = Surface().runs(span=8, noise=0.003)
    fit = fit_isoflop(runs, predict=[1e23], resamples=0)
    write_fit(fit, tmp_path / "fit.json")
    law, plain = load_law(str(tmp_path / "fit.json")), fit.laws["tokens"]
    assert plain is not None
    found, expected = advise(law, 1e23), fit.predictions[0].optima
    assert (found.tokens, found.params) == pytest.approx(
        (expected["tokens"].corrected, expected["params"].corrected), rel=1e-9
    )
    assert found.tokens_ci95 == pytest.approx(expected["tokens"].ci95, rel=1e-9)
    assert found.params_ci95 == pytest.approx(expected["params"].ci95, rel=1e-9)
    assert law.tokens.plain == (plain.coefficient, plain.exponent)


def test_params_by_6nd_are_as_unsure_as_the_tokens(tmp_path: Path) -> None:
    """Truth: C / (6·D) at the ends of the interval of D."""
    runs = parabolas(noise=0.003)
    write_fit(fit_isoflop(replace(runs, params=0 * runs.params + 1e9), resamples=0), tmp_path / "fit.json")
    found = advise(load_law(str(tmp_path / "fit.json")), 1e21)
    assert found.tokens_ci95 is not None
    low, high = found.tokens_ci95
    assert found.params_ci95 == pytest.approx((1e21 / (6 * high), 1e21 / (6 * low)))


def test_a_fit_without_a_params_law_falls_back_on_6nd_and_says_so(tmp_path: Path) -> None:
    runs = parabolas()
    write_fit(fit_isoflop(replace(runs, params=0 * runs.params + 1e9), resamples=50), tmp_path / "fit.json")
    found = advise(load_law(tmp_path / "fit.json"), 1e21)
    assert found.params_from == "C = 6ND"
    assert found.params == pytest.approx(1e21 / (6 * found.tokens))


def test_the_lowest_loss_of_a_published_surface_is_that_surfaces() -> None:
    """Truth: 1.69 + 406.4/N^0.34 + 410.7/D^0.28 at the optimum itself (arXiv 2203.15556, eq. 10)."""
    found = advise(load_law("hoffmann"), 5.76e23)
    assert found.loss is not None
    by_hand = 1.69 + 406.4 / found.params**0.34 + 410.7 / found.tokens**0.28
    assert found.loss.value == pytest.approx(by_hand, rel=1e-9)


def test_a_law_without_a_loss_gives_none_and_the_rest() -> None:
    found = advise(load_law("llama3"), 5.44e22)
    assert found.loss is None
    assert not found.tradeoff.loss_known
    assert found.neighbours()[0].wasted > 0


def test_half_and_twice_the_size_cost_what_the_surface_says() -> None:
    """Truth: the losses written out, and Chinchilla's optimum at the FLOPs that are said to be enough."""
    law = load_law("epoch")
    found = advise(law, 1e23)
    for one, times in zip(found.neighbours(), (0.5, 2.0), strict=True):
        params, tokens = times * found.params, found.tokens / times
        assert (one.params, one.tokens) == pytest.approx((params, tokens))
        assert one.loss == pytest.approx(1.8172 + 482.01 / params**0.3478 + 2085.43 / tokens**0.3658)
        enough = advise(law, (1 - one.wasted) * 1e23)
        assert enough.loss is not None
        assert enough.loss.value == pytest.approx(one.loss)


def test_ones_own_loss_has_the_interval_of_its_loss_law(tmp_path: Path) -> None:
    """Truth: the fit's own prediction of the loss, by way of the JSON."""
    fit = fit_isoflop(Surface().runs(span=8, noise=0.003), predict=[1e22], resamples=0)
    write_fit(fit, tmp_path / "fit.json")
    found, expected = advise(load_law(str(tmp_path / "fit.json")), 1e22).loss, fit.predictions[0].loss
    assert found is not None
    assert expected is not None
    assert (found.value, found.ci95) == (pytest.approx(expected.value), pytest.approx(expected.ci95))


def test_beyond_its_data_a_fits_interval_is_wider_than_at_their_end(tmp_path: Path) -> None:
    """Truth: a line's standard error grows with the distance from the mean of its points."""
    fit = fit_isoflop(Surface().runs(span=8, noise=0.003), resamples=0)
    write_fit(fit, tmp_path / "fit.json")
    law = load_law(str(tmp_path / "fit.json"))
    assert law.flops_range is not None
    found = widening(advise(law, 100 * law.flops_range[1]))
    assert found is not None
    assert 1 < found[0] < found[1]
    assert widening(advise(load_law("llama3"), 1e24)) is None


@given(st.floats(14, 30))
def test_the_flops_of_a_loss_are_those_that_reach_it(exponent: float) -> None:
    """Truth: the lowest loss at those FLOPs, back again."""
    law = load_law("epoch")
    found = advise(law, 10**exponent).loss
    assert found is not None
    assert flops_for_loss(law, found.value) == pytest.approx(10**exponent, rel=1e-6)


def test_the_flops_of_a_loss_by_ones_own_loss_law_are_its_inverse(tmp_path: Path) -> None:
    """Truth: the fit's own loss law at the FLOPs that are said."""
    write_fit(fit_isoflop(Surface().runs(span=8, noise=0.003), resamples=0), tmp_path / "fit.json")
    law = load_law(tmp_path / "fit.json")
    assert law.loss_law is not None
    assert law.loss_law.predict(flops_for_loss(law, 2.2)).value == pytest.approx(2.2)


def test_a_loss_that_no_compute_reaches_or_no_law_knows_is_refused() -> None:
    """Truth: the floor of arXiv 2404.10102 is 1.8172; Llama 3 publishes no loss."""
    with pytest.raises(UserError, match=r"--loss 1\.8 is not above 1\.817 nats"):
        flops_for_loss(load_law("epoch"), 1.8)
    with pytest.raises(UserError, match="law 'Llama 3' has no loss, so what reaches 2 nats can't be said"):
        flops_for_loss(load_law("llama3"), 2.0)
    with pytest.raises(UserError, match="give a loss that can be trained for"):
        flops_for_loss(load_law("epoch"), 1e90)
