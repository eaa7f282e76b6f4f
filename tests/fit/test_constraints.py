"""The best choice under a constraint, and what it wastes."""

from __future__ import annotations

import math

import pytest
from scipy.optimize import minimize_scalar

from fit.advise import advise
from fit.constraints import Constraints, best_choice, effective_tokens, most_params
from fit.errors import UserError
from fit.laws import load_law
from fit.surface import Surface
from fit.tradeoff import Tradeoff

FLOPS = 1e22


def at(name: str, flops: float = FLOPS) -> Tradeoff:
    return advise(load_law(name), flops).tradeoff


def test_no_constraint_leaves_the_optimum_and_wastes_nothing() -> None:
    found = at("muennighoff")
    choice = best_choice(found, Constraints())
    assert (choice.params, choice.tokens) == pytest.approx((found.params, found.tokens), rel=1e-4)
    assert choice.wasted == pytest.approx(0, abs=1e-9)


def test_repeats_are_worth_what_muennighoff_et_al_say() -> None:
    """Truth: arXiv 2305.16264, eq. 5 by hand: 4 epochs of 100B are worth 372.6B; R* repeats, 63% of new."""
    assert effective_tokens(400e9, 100e9) == pytest.approx(372.6e9, rel=1e-3)
    assert effective_tokens(100e9 * 16.39, 100e9) == pytest.approx(100e9 * (1 + 15.39 * (1 - 1 / math.e)))
    assert effective_tokens(1e30, 100e9) == pytest.approx(100e9 * 16.39)
    assert effective_tokens(50e9, 100e9) == 50e9


def test_four_epochs_are_nearly_as_good_as_new_data() -> None:
    """Truth: the abstract of arXiv 2305.16264: up to 4 epochs change the loss by a negligible part: here 1%."""
    found = at("muennighoff")
    choice = best_choice(found, Constraints(unique_tokens=found.tokens / 4))
    assert choice.loss / found.best_loss - 1 < 0.01
    assert 0 < choice.wasted < 0.25


@pytest.mark.parametrize("scarcity", [2.0, 10.0, 100.0])
def test_scarce_data_is_repeated_as_a_search_over_the_published_formula_finds(scarcity: float) -> None:
    """Truth: scipy minimises 1.87 + 521/N'^0.353 + 1488/D'^0.353 with N' and D' of arXiv 2305.16264 written out."""
    found = at("muennighoff")
    unique = found.tokens / scarcity
    enough = (0.353 * 521 / (0.353 * 1488)) ** (1 / 0.353) * unique

    def loss(log_params: float) -> float:
        params = math.exp(log_params)
        repeats = FLOPS / (6 * params) / unique - 1
        base = min(params, enough)
        counted = base + base * 5.31 * (1 - math.exp(-(params / base - 1) / 5.31))
        worth = unique + unique * 15.39 * (1 - math.exp(-repeats / 15.39))
        return 1.87 + 521 / counted**0.353 + 1488 / worth**0.353

    most = math.log(FLOPS / (6 * unique))
    best = minimize_scalar(loss, bounds=(most - 8, most), method="bounded", options={"xatol": 1e-9})
    choice = best_choice(found, Constraints(unique_tokens=unique))
    assert choice.loss == pytest.approx(float(best.fun), rel=1e-6)
    assert choice.params == pytest.approx(math.exp(best.x), rel=1e-2)
    assert choice.epochs == pytest.approx(choice.tokens / unique)
    assert 6 * choice.params * choice.tokens == pytest.approx(FLOPS)


def test_less_data_wastes_more_compute() -> None:
    found = at("llama3")
    wasted = [
        best_choice(found, Constraints(unique_tokens=found.tokens / k)).wasted for k in (1, 2, 5, 20, 100)
    ]
    assert wasted[0] == pytest.approx(0, abs=1e-9)
    assert wasted == sorted(wasted)
    assert wasted[-1] > 0.5


def test_a_size_that_is_fixed_trains_for_what_the_budget_pays() -> None:
    """Truth: D = C/6N, and the loss of that written out."""
    found = at("hoffmann")
    choice = best_choice(found, Constraints(params=1e9))
    assert (choice.params, choice.tokens) == pytest.approx((1e9, FLOPS / 6e9))
    assert choice.loss == pytest.approx(1.69 + 406.4 / 1e9**0.34 + 410.7 / choice.tokens**0.28)
    again = advise(load_law("hoffmann"), (1 - choice.wasted) * FLOPS)
    assert again.loss is not None
    assert again.loss.value == pytest.approx(choice.loss)


def test_memory_holds_sixteen_bytes_a_parameter() -> None:
    """Truth: 80e9 bytes on each of 8 GPUs over 16 (Rajbhandari et al., arXiv 1910.02054, section 3.1)."""
    assert most_params(80, 8) == pytest.approx(40e9)
    assert most_params(24, 1, 18) == pytest.approx(24e9 / 18)


def test_a_largest_size_binds_only_where_the_optimum_is_larger() -> None:
    found = at("epoch")
    bound = best_choice(found, Constraints(most_params=found.params / 3))
    assert bound.params == pytest.approx(found.params / 3)
    assert bound.wasted > 0.05
    assert best_choice(found, Constraints(most_params=found.params * 3)).wasted == pytest.approx(0, abs=1e-9)


SARDANA = Surface(1.69, 406.4, 410.7, 0.336, 0.283)
"""With the exponents to three digits, as arXiv 2401.00448 has them of Hoffmann et al."""


def test_a_model_that_serves_two_trillion_tokens_is_smaller_by_what_sardana_et_al_print() -> None:
    """Truth: arXiv 2401.00448, figure 1: for 2T tokens served a 7B saves 17%, 1.7e22 FLOPs, against 13B."""
    flops = 8.05e22
    optimum = SARDANA.optima(flops)
    found = Tradeoff(flops, optimum["params"], optimum["tokens"], SARDANA)
    choice = best_choice(found, Constraints(inference_tokens=2e12))
    assert choice.params == pytest.approx(7e9, rel=0.1)
    assert 6 * choice.params * choice.tokens + choice.inference_flops == pytest.approx(flops)
    alone = found.equal_flops(choice.loss)
    params, _ = found.optimum(alone)
    assert params == pytest.approx(13e9, rel=0.05)
    total = alone + 2 * params * 2e12
    assert 1 - flops / total == pytest.approx(0.17, abs=0.01)
    assert total - flops == pytest.approx(1.7e22, rel=0.05)


def test_serving_more_than_the_budget_pays_is_refused() -> None:
    with pytest.raises(UserError, match="nothing is left to train"):
        best_choice(at("llama3"), Constraints(params=1e10, inference_tokens=1e12))


def test_all_constraints_together_waste_no_less_than_each() -> None:
    found = at("llama3")
    each = [
        Constraints(unique_tokens=found.tokens / 5),
        Constraints(most_params=found.params / 4),
        Constraints(inference_tokens=found.tokens / 2),
    ]
    together = Constraints(found.tokens / 5, None, found.params / 4, found.tokens / 2)
    assert best_choice(found, together).wasted >= max(best_choice(found, one).wasted for one in each)
