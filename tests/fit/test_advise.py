"""A law and a budget give what to train."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.advise import advise, budget_flops, check, load_law
from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.regression import line_to_dict, random_effects
from fit.result import write_fit
from tests.simulated import BUDGETS, TOKENS, Surface, parabolas

CONTRACT = {
    "budgets": [{"flops": 1e18}, {"flops": 1e20}],
    "laws": {"tokens": {"coefficient": 0.299, "exponent": 0.537, "exponent_ci95": None}, "params": None},
}


def write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def test_a_cluster_for_a_month_is_its_flops() -> None:
    """Truth: 100 x 210e12 x 30 x 86,400 = 5.44e22."""
    assert budget_flops(100, 210, 30 * 24) == pytest.approx(5.4432e22)


@pytest.mark.parametrize("numbers", [(0, 210, 1), (100, -1, 1), (100, 210, float("nan")), (1e200, 1e200, 1)])
def test_a_cluster_of_nothing_or_of_infinity_is_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match="a positive, finite number is expected"):
        budget_flops(*numbers)


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


def test_ones_own_fit_is_a_law(tmp_path: Path) -> None:
    """Truth: the law that the runs obey, tokens and params each by their own."""
    path = tmp_path / "fit.json"
    write_fit(fit_isoflop(parabolas(), resamples=50), path)
    law = load_law(str(path))
    found = advise(law, 1e21)
    assert found.tokens == pytest.approx(TOKENS(1e21), rel=1e-4)
    assert found.params == pytest.approx(1e21 / (6 * TOKENS(1e21)), rel=1e-4)
    assert found.params_from == "the law's own params"
    assert (law.flops_range, law.source) == ((BUDGETS[0], BUDGETS[-1]), "simulated")
    assert law.tokens.exponent_ci95 is not None
    assert found.tokens_ci95 is not None
    assert found.tokens_ci95[0] <= TOKENS(1e21) <= found.tokens_ci95[1]


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


def test_the_contracts_own_keys_are_enough_for_a_law(tmp_path: Path) -> None:
    """Truth: contract 2 names no source and no range; the range is that of its budgets."""
    law = load_law(write(tmp_path / "fit.json", CONTRACT))
    assert law.flops_range == (1e18, 1e20)
    assert advise(law, 3.8e25).tokens == pytest.approx(16.3e12, rel=0.005)


ANOTHER_LINE = line_to_dict(
    random_effects(np.array([40.0, 42.0, 45.0]), np.array([20.0, 21.0, 23.0]), np.eye(3))
)
"""Of slope 0.6."""


def changed(**law: Any) -> dict[str, Any]:
    tokens: dict[str, Any] = {"coefficient": 0.299, "exponent": 0.537, "exponent_ci95": None}
    return {**CONTRACT, "laws": {"tokens": {**tokens, **law}, "params": None}}


@pytest.mark.parametrize(
    "content",
    [
        [],
        None,
        3,
        {},
        {"laws": {}},
        {"laws": None},
        {**CONTRACT, "budgets": []},
        {**CONTRACT, "table": "runs.csv"},
        changed(coefficient=-1),
        changed(coefficient=0),
        changed(coefficient=None),
        changed(coefficient=float("inf")),
        changed(coefficient=10**400),
        changed(exponent=float("nan")),
        changed(exponent="steep"),
        changed(exponent_ci95=[0.5]),
        changed(exponent_ci95=[0.7, 0.6]),
        changed(corrected={"coefficient": 0.0, "exponent": 0.5}),
        changed(corrected={"coefficient": 0.3, "exponent": 0.5}, line=ANOTHER_LINE, scatter=0.0),
        changed(corrected={"coefficient": 0.3, "exponent": 0.5}, line={"slope": 0.5}, scatter=0.0),
        changed(flops_range=[0, 1]),
        changed(flops_range=["low", "high"]),
    ],
)
def test_json_that_is_no_fit_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(
        UserError, match=r"law\.json' is not a fit's JSON; write one with python -m fit isoflop"
    ):
        load_law(write(tmp_path / "law.json", content))


@pytest.mark.parametrize("content", [b"", b"flops,loss\n1,2\n", bytes(range(256)), b"[" * 100_000])
def test_a_law_file_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "law.json").write_bytes(content)
    with pytest.raises(UserError, match=r"law\.json' is no JSON"):
        load_law(str(tmp_path / "law.json"))


def test_a_law_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; write one with"):
        load_law(str(tmp_path / "none.json"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UserError, match="can't be read: Is a directory"):
        load_law(str(tmp_path / "folder.json"))


def test_a_law_without_a_coefficient_cannot_advise() -> None:
    with pytest.raises(UserError, match="law 'hoffmann1' has no published coefficient"):
        load_law("hoffmann1")


def test_optima_past_all_numbers_are_refused(tmp_path: Path) -> None:
    law = load_law(write(tmp_path / "law.json", changed(exponent=1e6)))
    with pytest.raises(UserError, match="optimal tokens is inf"):
        advise(law, 1e20)
    with pytest.raises(UserError, match=r"6 x --params x --tokens is 0\.0"):
        check(law, 1e-200, 1e-200)
