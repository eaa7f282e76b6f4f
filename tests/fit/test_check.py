"""A choice of params and tokens against a law."""

from __future__ import annotations

import pytest

from fit.check import check, nearest
from fit.known_models import known_models
from fit.laws import load_law


def test_seventy_billion_on_one_trillion_is_nearer_than_seven_on_ten() -> None:
    """Truth: both cost 4.2e23 by 6ND; 48.3B on 1.45T are optimal, from which 70B is 1.45x away and 7B 6.9x."""
    law = load_law("llama3")
    far, near = check(law, 7e9, 10e12), check(law, 70e9, 1e12)
    assert far.flops == near.flops == pytest.approx(4.2e23)
    assert nearest([far, near]) is near
    assert near.wasted == pytest.approx(0.05, abs=0.01)
    assert far.wasted == pytest.approx(0.71, abs=0.01)


def test_an_optimum_wastes_nothing() -> None:
    law = load_law("hoffmann")
    optimum = check(law, 7e9, 10e12).advice
    assert check(law, optimum.params, optimum.tokens).wasted == pytest.approx(0, abs=1e-9)


def test_a_plan_that_its_budget_can_not_pay_for_says_by_how_much() -> None:
    """Truth: 4.2e23 over 5.44e22 is 7.72; a plan that rounding made 0.1% dearer is no error."""
    law = load_law("llama3")
    assert check(law, 7e9, 10e12, 5.44e22).over_budget == pytest.approx(7.72, abs=0.005)
    assert check(law, 7e9, 10e12, 4.2e23).over_budget is None
    assert check(law, 7.007e9, 10e12, 4.2e23).over_budget is None
    assert check(law, 7e9, 10e12).over_budget is None


@pytest.mark.parametrize(
    ("name", "params", "tokens"),
    [
        ("GPT-3", 175e9, 300e9),
        ("Gopher", 280e9, 300e9),
        ("Chinchilla", 70e9, 1.4e12),
        ("Llama 1 65B", 65.2e9, 1.4e12),
        ("Llama 2 70B", 70e9, 2e12),
        ("Llama 3 405B", 405e9, 15.6e12),
        ("DeepSeek-V3", 37e9, 14.8e12),
    ],
)
def test_known_models_are_as_published(name: str, params: float, tokens: float) -> None:
    """Truth: the papers that the table names, typed in here a second time."""
    (found,) = [one for one in known_models() if one.name == name]
    assert (found.params, found.tokens) == pytest.approx((params, tokens), rel=0.01)


def test_chinchilla_lies_nearer_its_optimum_than_gopher_at_the_same_cost() -> None:
    """Truth: the finding of arXiv 2203.15556."""
    law = load_law("epoch")
    by_name = {one.name: check(law, one.params, one.tokens) for one in known_models()}
    assert by_name["Chinchilla"].wasted < 0.02
    assert by_name["Gopher"].wasted > 0.3
    assert by_name["Chinchilla"].flops == pytest.approx(by_name["Gopher"].flops, rel=0.2)


def test_every_known_model_has_a_source_and_a_name_of_its_own() -> None:
    models = known_models()
    assert len({one.name for one in models}) == len(models) > 25
    for one in models:
        assert "arXiv" in one.source or "model card" in one.source


def test_llama_3_405b_is_near_its_own_law() -> None:
    """Truth: 3.8e25 FLOPs were spent on the 402B that the law of arXiv 2407.21783 called optimal."""
    flagship = check(load_law("llama3"), 405e9, 15.6e12)
    assert flagship.flops == pytest.approx(3.8e25, rel=0.01)
    assert flagship.wasted < 0.005
