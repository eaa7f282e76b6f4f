"""Budgets without a usable minimum come first."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.valley import AXES
from scaling_runs.adaptive.decide import decide
from scaling_runs.adaptive.knowledge import learn
from scaling_runs.adaptive.records import Request, Space
from tests.scaling_runs.adaptive.simulating import (
    BUDGETS,
    LADDER,
    OPTIMUM,
    SPACE,
    observed,
    play,
    settings_for,
)


def grid(low: float, high: float, sizes: int = 4) -> list[Request]:
    """At the smallest budget, from `low` to `high` times its optimum."""
    places = np.geomspace(low * OPTIMUM, high * OPTIMUM, sizes)
    return [Request(BUDGETS[0], min(LADDER, key=lambda size: abs(size - place)), 0) for place in places]


@pytest.mark.parametrize(("low", "high", "upward"), [(0.02, 0.5, True), (2.0, 50.0, False)])
def test_a_grid_is_extended_to_the_side_where_the_loss_still_falls(
    low: float, high: float, upward: bool
) -> None:
    """Truth: the optimum that the losses lie about is on that side; one step goes past it, by a span at most."""
    had = grid(low, high)
    (action,) = decide(observed(had), frozenset(), settings_for(), SPACE).actions
    (new,) = action.requests
    assert action.kind == "extend"
    assert ("larger" if upward else "smaller") in action.why
    sizes = [one.params for one in had]
    edge = max(sizes) if upward else min(sizes)
    assert 0 < (math.log(new.params / edge) if upward else math.log(edge / new.params)) <= math.log(6) * 1.05
    assert (new.params > OPTIMUM) == upward


@settings(max_examples=8, deadline=None)
@given(st.floats(-1.5, 1.5), st.sampled_from([0.0, 0.003]))
def test_wherever_the_guess_lies_no_budget_ends_at_an_edge(decades: float, noise: float) -> None:
    """Truth: along both axes every valley that was begun has its minimum inside its grid."""
    wanted = settings_for(expected_params=OPTIMUM * 10**decades, exponent_width=0.05)
    runs, decisions = play(wanted, noise=noise)
    known = learn(runs, wanted)
    assert "as narrow as asked" in (decisions[-1].stop or "")
    for budget in known.design:
        assert all(known.valleys(budget)[axis].interior for axis in AXES)


def test_a_budget_with_two_sizes_left_is_filled() -> None:
    """Truth: a parabola needs three."""
    action = decide(observed(grid(0.3, 3.0, 2)), frozenset(), settings_for(), SPACE).actions[0]
    assert (action.kind, len(action.requests)) == ("fill", 1)


def test_a_parabola_that_opens_downward_is_widened_on_both_sides() -> None:
    """Truth: losses that are turned upside down."""
    had = grid(0.3, 3.0)
    runs = [dataclasses.replace(one, loss=12 - one.loss) for one in observed(had)]
    action = decide(runs, frozenset(), settings_for(), SPACE).actions[0]
    below, above = sorted(one.params for one in action.requests)
    assert action.kind == "widen"
    assert below < min(one.params for one in had)
    assert above > max(one.params for one in had)


def test_where_the_ladder_ends_the_budget_is_left_and_told() -> None:
    """Truth: no size past the ladder's last exists; it is neither asked for nor passed over in silence."""
    short = [size for size in LADDER if size < OPTIMUM / 3]
    runs, decisions = play(settings_for(), Space(lambda _: short, SPACE.cost))
    assert max(one.params for one in runs) <= max(short)
    assert "1e+18 FLOPs stays without a minimum (edge-minimum)" in (decisions[-1].stop or "")


def test_a_cell_that_failed_is_not_asked_for_again() -> None:
    """Truth: every cell once; without the larger sizes the experiment still comes to an end."""
    runs, decisions = play(settings_for(), fails=lambda one: one.params > 3 * OPTIMUM and one.seed == 0)
    asked = [request for decision in decisions for request in decision.requests]
    assert len(asked) == len(set(asked))
    assert len(runs) < len(asked)
