"""The rule: the expected cut in the aim's variance per FLOP."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.regression import random_effects
from fit.statistics import student
from scaling_runs.adaptive.guards import Ledger
from scaling_runs.adaptive.knowledge import NORMAL, Known, learn
from scaling_runs.adaptive.records import Request, Settings, Space
from scaling_runs.adaptive.rule import _candidates, _with, best_actions
from tests.scaling_runs.adaptive.simulating import BUDGETS, LADDER, SPACE, log_optimum, observed, settings_for


def known_of(
    wanted: Settings, budgets: int, sizes: int = 5, noise: float = 0.004
) -> tuple[Known, set[Request]]:
    """After an even grid at the first `budgets` budgets."""
    requests = [
        Request(budget, min(LADDER, key=lambda size: abs(math.log(size) - place)), 0)
        for budget in BUDGETS[:budgets]
        for place in log_optimum(budget) + np.linspace(-1.5, 1.5, sizes)
    ]
    return learn(observed(requests, noise), wanted), set(requests)


def test_what_is_expected_of_a_minimum_is_what_the_fit_says_of_it() -> None:
    """Truth: the derivative of the fit's own minimum by each run's loss, squared and summed."""
    known, _ = known_of(settings_for(), 1, noise=0.0)
    valley = known.valleys(BUDGETS[0])["params"]
    gradient = valley.minimum_gradient(valley.coefficients)
    expected = known.noise_sd**2 * gradient @ gradient
    assert known.variance_of(BUDGETS[0], np.log(valley.sizes)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("target", [None, 1e21])
def test_the_aims_variance_is_that_of_the_weighted_line_through_the_minima(target: float | None) -> None:
    """Truth: `fit.regression`, with the same errors of the budgets; the prior hardly counts where noise is small."""
    known, _ = known_of(settings_for(target=target), 4)
    known = replace(known, noise_sd=1e-4)
    design = known.design
    variance = np.array([known.variance_of(budget, design[budget]) for budget in BUDGETS[:4]])
    line = random_effects(np.log(BUDGETS[:4]), np.zeros(4), np.diag(variance))
    at = np.array([0.0, 1.0]) if target is None else np.array([1.0, np.log(target) - line.x0])
    expected = (student(2) / NORMAL) ** 2 * at @ line.known @ at
    assert known.aim_variance(design) == pytest.approx(expected, rel=1e-3)


def test_of_all_that_can_be_trained_the_most_worthy_is_chosen() -> None:
    """Truth: every candidate weighed afresh."""
    known, tried = known_of(settings_for(exponent_width=1e-4, round_cells=1), 4)
    ledger = Ledger(SPACE, tried, 1e21)
    now = known.aim_variance(known.design)
    worth = {
        requests: (now - known.aim_variance(_with(known.design, requests))) / ledger.cost(requests)
        for _, requests in _candidates(known, ledger, known.design)
    }
    (chosen,) = best_actions(known, ledger)
    assert worth[chosen.requests] == max(worth.values())


def test_what_a_cell_costs_is_asked_of_the_space() -> None:
    """Truth: with the smallest budget a thousand times dearer, as where its trunks are lost, others are trained."""
    known, tried = known_of(settings_for(exponent_width=1e-4), 4)
    first = {
        one.budget for action in best_actions(known, Ledger(SPACE, tried, 1e22)) for one in action.requests
    }
    dear = Space(SPACE.sizes, lambda one: one.budget * (1000 if one.budget == BUDGETS[0] else 1))
    other = {
        one.budget for action in best_actions(known, Ledger(dear, tried, 1e22)) for one in action.requests
    }
    assert BUDGETS[0] in first
    assert BUDGETS[0] not in other


def test_until_a_law_has_its_four_budgets_another_is_opened_first() -> None:
    """Truth: with one or two, no interval of the law is worth having, however well each minimum is known."""
    known, tried = known_of(settings_for(), 1)
    actions = best_actions(known, Ledger(SPACE, tried, 1e22))
    assert {action.kind for action in actions} == {"open"}
    for action in actions:
        middle = sorted(one.params for one in action.requests)[1]
        assert abs(math.log(middle) - known.predicted(action.requests[0].budget)[0]) < 0.05


def test_a_budget_is_not_opened_where_the_law_does_not_reach() -> None:
    """Truth: from one budget, a hundredfold of compute leaves the optimum unknown to more than half a span."""
    wanted = settings_for(budgets=(BUDGETS[0], 1e24, 2e24, 4e24))
    known, tried = known_of(wanted, 1)
    kinds = {kind for kind, _ in _candidates(known, Ledger(SPACE, tried, 1e30), known.design)}
    assert "open" not in kinds


@settings(max_examples=15, deadline=None)
@given(st.floats(1e18, 4e19), st.integers(1, 6), st.integers(1, 4))
def test_a_round_is_never_dearer_than_what_is_left(left: float, cells: int, budgets: int) -> None:
    """Truth: the sum of its cells' costs, each cell once."""
    known, tried = known_of(settings_for(round_cells=cells, exponent_width=1e-4), budgets)
    actions = best_actions(known, Ledger(SPACE, tried, left))
    requests = [one for action in actions for one in action.requests]
    assert sum(map(SPACE.cost, requests)) <= left
    assert len(set(requests) | tried) == len(requests) + len(tried)


def test_a_round_ends_where_what_is_asked_is_expected() -> None:
    """Truth: an interval that is nearly narrow enough needs no four cells."""
    known, tried = known_of(settings_for(), 4, noise=0.01)
    width = (
        math.sqrt(known.aim_variance(known.design))
        * NORMAL
        * max(1.0, known.honest_half_width() / known.expected_half_width())
    )
    nearly = replace(known, settings=settings_for(exponent_width=0.98 * width))
    assert sum(len(action.requests) for action in best_actions(nearly, Ledger(SPACE, tried, 1e22))) == 1
