"""What another balance of params and tokens costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from fit.advise import advise
from fit.laws import load_law
from fit.references import EPOCH, HOFFMANN, MUENNIGHOFF
from fit.surface import Surface
from fit.tradeoff import BORROWED, Tradeoff

FLOPS = 5.76e23


def at(name: str, flops: float = FLOPS) -> Tradeoff:
    return advise(load_law(name), flops).tradeoff


@pytest.mark.parametrize("law", [HOFFMANN, EPOCH, MUENNIGHOFF])
def test_a_published_surface_is_laid_where_it_lies(law: object) -> None:
    """Truth: the surface itself, whose optimum is the law's."""
    surface = getattr(law, "surface", None)
    assert isinstance(surface, Surface)
    found = at(getattr(law, "name", ""))
    assert found.surface.unknowns == pytest.approx(surface.unknowns, rel=1e-9)
    assert 6 * found.params * found.tokens == pytest.approx(FLOPS)


@given(st.floats(0.02, 50), st.floats(18, 26))
def test_the_waste_of_a_size_is_found_by_search(ratio: float, exponent: float) -> None:
    """Truth: Hoffmann's surface written out, and scipy's search for the FLOPs whose lowest loss is the same."""
    flops = 10**exponent
    found = at("hoffmann", flops)
    params, tokens = found.params * ratio, found.tokens / ratio
    loss = 1.69 + 406.4 / params**0.34 + 410.7 / tokens**0.28
    assert found.loss(params, tokens) == pytest.approx(loss)

    def lowest(log_flops: float) -> float:
        best = minimize_scalar(
            lambda n: 406.4 * np.exp(-0.34 * n) + 410.7 * np.exp(-0.28 * (log_flops - np.log(6) - n)),
            bounds=(5, 45),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return float(best.fun)

    enough = np.log(flops * (1 - found.wasted(loss, flops)))
    assert lowest(enough) == pytest.approx(loss - 1.69, rel=1e-6)


def test_waste_follows_from_the_exponents_alone() -> None:
    """Truth: 1 - g^(-1/γ) by hand, for 7B where 48.3B are optimal: g = 1.2437, γ = 0.17829, 70.6% wasted."""
    found = at("llama3", 4.2e23)
    ratio = 7e9 / found.params
    alpha, beta = 0.3478, 0.3658
    raised = (beta * ratio**-alpha + alpha * ratio**beta) / (alpha + beta)
    by_hand = 1 - raised ** (-(alpha + beta) / (alpha * beta))
    assert by_hand == pytest.approx(0.706, abs=0.002)
    assert found.wasted(found.loss(7e9, 10e12), 4.2e23) == pytest.approx(by_hand, rel=1e-9)


def test_a_law_without_a_loss_borrows_exponents_that_other_surfaces_nearly_share() -> None:
    """Truth: the waste by each published surface's exponents, of sizes to 7 times too small and too large."""
    for ratio in (1 / 7, 1 / 3, 1 / 2, 2.0, 3.0, 7.0):
        wastes = []
        for law in (BORROWED, HOFFMANN, MUENNIGHOFF):
            assert law.surface is not None
            alpha, beta = law.surface.alpha, law.surface.beta
            raised = (beta * ratio**-alpha + alpha * ratio**beta) / (alpha + beta)
            wastes.append(1 - raised ** (-(alpha + beta) / (alpha * beta)))
        assert max(wastes) - min(wastes) < 0.08
    assert (at("llama3").loss_known, at("epoch").loss_known) == (False, True)


def test_the_ends_of_a_range_have_the_loss_that_it_allows() -> None:
    """Truth: losses at both ends, and just inside and outside of them."""
    found = at("epoch")
    for share in (0.001, 0.005, 0.01):
        sizes = found.sizes_within(share)
        assert sizes is not None
        for end in sizes:
            loss = found.loss(end, FLOPS / (6 * end))
            assert loss == pytest.approx(found.best_loss * (1 + share), rel=1e-9)
        assert sizes[0] < found.params < sizes[1]


def test_the_ends_of_a_range_waste_what_it_allows() -> None:
    for name in ("llama3", "hoffmann"):
        found = at(name)
        for share in (0.01, 0.1):
            for end in found.sizes_wasting(share):
                loss = found.loss(end, FLOPS / (6 * end))
                assert found.wasted(loss, FLOPS) == pytest.approx(share, rel=1e-6)


def test_a_law_without_a_loss_gives_no_range_of_losses() -> None:
    assert at("llama3").sizes_within(0.001) is None


def test_two_optima_that_do_not_multiply_to_the_budget_are_scaled_to_it() -> None:
    """Truth: Kaplan's 1.3e9 params and 2e10 tokens at one PF-day: their ratio is kept, their product is C/6."""
    found = at("kaplan", 8.64e19)
    assert found.tokens / found.params == pytest.approx(2e10 / 1.3e9)
    assert 6 * found.tokens * found.params == pytest.approx(8.64e19)
