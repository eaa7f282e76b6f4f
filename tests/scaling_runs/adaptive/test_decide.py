"""The whole of a decision: how it begins, how it ends, and that nothing but its input moves it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner import Truth, adaptive, fixed_grid
from fit.errors import UserError
from fit.surface import Surface
from scaling_runs.adaptive.decide import decide
from scaling_runs.adaptive.knowledge import learn
from tests.scaling_runs.adaptive.simulating import BUDGETS, OPTIMUM, SPACE, play, settings_for


def test_it_begins_with_a_coarse_grid_at_the_smallest_budget() -> None:
    """Truth: as many sizes as asked, about the guess, from it over the span to it times the span."""
    (action,) = decide((), frozenset(), settings_for(), SPACE).actions
    sizes = [one.params for one in action.requests]
    assert (action.kind, len(sizes), {one.budget for one in action.requests}) == ("start", 5, {BUDGETS[0]})
    assert sizes[0] == pytest.approx(OPTIMUM / 6, rel=0.05)
    assert sizes[-1] == pytest.approx(OPTIMUM * 6, rel=0.05)


def test_flops_that_do_not_pay_the_first_round_are_refused() -> None:
    """Truth: five cells of the smallest budget."""
    with pytest.raises(UserError, match=r"sweep\.max_flops is 4e\+18; the first round alone, 5 sizes"):
        decide((), frozenset(), settings_for(max_flops=4e18), SPACE)


def test_it_stops_where_the_headline_interval_is_as_narrow_as_asked() -> None:
    """Truth: the project's own interval on the very runs, on no fewer than four budgets."""
    wanted = settings_for(exponent_width=0.03)
    runs, decisions = play(wanted, noise=0.004)
    known = learn(runs, wanted)
    law = known.tokens_law
    assert law is not None
    assert law.exponent_ci95 is not None
    low, high = law.exponent_ci95
    assert (high - low) / 2 <= 0.03
    assert len(law.flops) >= 4
    assert "±0.03" in (decisions[-1].stop or "")


def test_with_a_target_it_is_the_optimum_there_that_is_judged() -> None:
    """Truth: the headline interval of optimal tokens at the target, a factor of 1.3 to either side."""
    wanted = settings_for(target=1e21, target_within=1.3, max_flops=1e22)
    runs, decisions = play(wanted, noise=0.004)
    law = learn(runs, wanted).tokens_law
    assert law is not None
    low, high = law.predict(1e21).ci95 or (0.0, math.inf)
    assert high / low <= 1.3**2
    assert all("α" not in action.why for decision in decisions for action in decision.actions)


@settings(max_examples=4, deadline=None)
@given(st.floats(6e18, 1e20))
def test_it_never_spends_more_than_it_may(most: float) -> None:
    """Truth: the sum over all that was trained."""
    runs, decisions = play(settings_for(max_flops=most, exponent_width=1e-4), noise=0.01)
    assert sum(one.flops for one in runs) <= most
    assert "are left" in (decisions[-1].stop or "")


def test_the_same_history_gives_the_same_decision() -> None:
    """Truth: the decisions themselves, asked for again after each round."""
    wanted = settings_for(exponent_width=0.03)
    runs, decisions = play(wanted, noise=0.006)
    trained = 0
    for decision in decisions:
        assert decide(runs[:trained], frozenset(), wanted, SPACE) == decision
        trained += len(decision.requests)


@pytest.mark.parametrize(("guess", "seed"), [(0.1, 1), (10.0, 2), (3.0, 3)])
def test_on_a_simulated_law_it_needs_fewer_flops_than_a_grid_that_is_centred(guess: float, seed: int) -> None:
    """Truth: the exponent's closed form; FLOPs and width of the grid on the optima of the same law.

    All three laws need not halve them: benchmarks/planner.py has 200.
    """
    surface = Surface(1.69, 406.4, 410.7, 0.34, 0.28)
    truth = Truth(surface, coupling=1.0, noise=0.005, scatter=0.0, guess=guess, seed=seed)
    grid = fixed_grid(truth, 1.0)
    width = 0.05
    found = adaptive(truth, 7, width, grid.flops)
    assert found.narrow_enough
    assert found.edges == 0
    assert found.flops <= 0.6 * grid.flops
