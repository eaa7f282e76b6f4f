"""Published laws say what was published."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from fit.advise import advise
from fit.errors import UserError
from fit.laws import load_law
from fit.references import HOFFMANN, LAWS, LLAMA3, published_law


def test_llama_3_is_as_printed() -> None:
    """Truth: arXiv 2407.21783, section 3.2.1: (α, A) = (0.537, 0.299), budgets 6e18 to 1e22."""
    assert (LLAMA3.tokens_exponent, LLAMA3.tokens_coefficient) == (0.537, 0.299)
    assert LLAMA3.flops_range == (6e18, 1e22)
    assert (LLAMA3.params_exponent, LLAMA3.params_coefficient) == (None, None)


def test_hoffmanns_third_approach_is_the_minimum_of_its_surface() -> None:
    """Truth: scipy minimises 1.69 + 406.4/N^0.34 + 410.7/D^0.28 on C = 6·N·D (arXiv 2203.15556, eq. 10)."""
    assert HOFFMANN.tokens_coefficient is not None
    assert HOFFMANN.params_coefficient is not None
    assert HOFFMANN.params_exponent is not None
    for flops in (6e18, 3e21, 5.76e23):

        def loss(log_tokens: float, flops: float = flops) -> float:
            tokens = np.exp(log_tokens)
            return float(406.4 / (flops / (6 * tokens)) ** 0.34 + 410.7 / tokens**0.28)

        found = np.exp(minimize_scalar(loss, bounds=(15, 35), method="bounded", options={"xatol": 1e-9}).x)
        tokens = HOFFMANN.tokens_coefficient * flops**HOFFMANN.tokens_exponent
        params = HOFFMANN.params_coefficient * flops**HOFFMANN.params_exponent
        assert tokens == pytest.approx(found, rel=1e-5)
        assert 6 * params * tokens == pytest.approx(flops, rel=1e-9)


def test_hoffmanns_exponents_are_those_of_its_table() -> None:
    """Truth: arXiv 2203.15556, table 2: a = 0.50, 0.49, 0.46 and b = 0.50, 0.51, 0.54 by approach.

    By the printed, rounded surface the third gives 0.452 and 0.548, the paper's 0.46 and 0.54 to 0.01.
    """
    table = {"hoffmann1": (0.50, 0.50), "hoffmann2": (0.49, 0.51), "hoffmann": (0.46, 0.54)}
    for name, (params, tokens) in table.items():
        law = published_law(name)
        assert law.params_exponent == pytest.approx(params, abs=0.01)
        assert law.tokens_exponent == pytest.approx(tokens, abs=0.01)


def test_every_law_names_its_source_and_convention_once() -> None:
    assert len({law.name for law in LAWS}) == len(LAWS)
    for law in LAWS:
        assert "arXiv" in law.source
        assert "C" in law.convention


def test_epochs_correction_spends_half_of_compute_on_each() -> None:
    """Truth: arXiv 2404.10102, table 1 and section 3: params exponent 0.5126 by beta/(alpha + beta), 20 tokens a
    parameter about Chinchilla's 5.76e23 FLOPs."""
    law = advise(load_law("epoch"), 5.76e23)
    assert published_law("epoch").params_exponent == pytest.approx(0.5126, abs=1e-4)
    assert law.tokens / law.params == pytest.approx(20, abs=3)


def test_kaplans_law_is_as_printed_for_one_pf_day() -> None:
    """Truth: arXiv 2001.08361, table 6: 1.3e9 params and 2e10 tokens at C_min = 1 PF-day; 0.73 and 0.27."""
    found = advise(load_law("kaplan"), 8.64e19)
    assert (found.params, found.tokens) == (pytest.approx(1.3e9), pytest.approx(2e10))
    more = advise(load_law("kaplan"), 8.64e20)
    assert more.params / found.params == pytest.approx(10**0.73)
    assert more.tokens / found.tokens == pytest.approx(10**0.27)


def test_deepseeks_tokens_and_its_flops_a_token_spend_the_budget() -> None:
    """Truth: arXiv 2401.02954, eq. 4: M = 0.1715·C^0.5243, D = 5.8316·C^0.4757 and C = M·D."""
    tokens = advise(load_law("deepseek"), 1e20).tokens
    assert tokens * 0.1715 * 1e20**0.5243 == pytest.approx(1e20, rel=1e-3)


def test_muennighoffs_params_are_a_twentieth_of_its_tokens() -> None:
    """Truth: arXiv 2305.16264, appendix A: the optimal params of D unique tokens are 0.051·D."""
    found = advise(load_law("muennighoff"), 1e21)
    assert found.params / found.tokens == pytest.approx(0.051, abs=5e-4)
    assert 6 * found.params * found.tokens == pytest.approx(1e21)


def test_exponents_of_each_law_on_6nd_add_up_to_one() -> None:
    """Truth: C = 6·N·D; Kaplan's C_min is another, yet its exponents are published so too."""
    for law in LAWS:
        if law.params_exponent is not None:
            assert law.params_exponent + law.tokens_exponent == pytest.approx(1)


def test_every_law_with_coefficients_advises_and_every_other_names_those() -> None:
    for law in LAWS:
        if law.tokens_coefficient is not None:
            assert advise(load_law(law.name), 1e20).tokens > 0
            continue
        with pytest.raises(UserError, match="choose one of llama3, hoffmann, epoch, kaplan, deepseek, muenn"):
            load_law(law.name)


def test_an_unknown_law_is_refused_with_the_nearest_and_all() -> None:
    with pytest.raises(
        UserError, match=r"law 'Llama-3' is unknown, did you mean llama3\? choose one of llama3, hoffm"
    ):
        published_law("Llama-3")
