"""What a user asks of the planner, and what is refused."""

from __future__ import annotations

import itertools
import re

import pytest

from fit.errors import UserError
from scaling_runs.adaptive.cells import settings_of
from tests.scaling_runs.test_config import a_sweep


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"planner": "greedy"}, "sweep.planner is 'greedy'; choose one of grid, adaptive"),
        ({"max_flops": 1e10}, "sweep.max_flops is 1e+10, which sweep.planner=grid does not heed"),
        ({"round_cells": 2}, "sweep.round_cells is 2, which sweep.planner=grid does not heed"),
        ({"planner": "adaptive", "max_flops": -1.0}, "sweep.max_flops is -1.0; it must be a positive number"),
        ({"planner": "adaptive", "exponent_width": 0.0}, "sweep.exponent_width is 0.0"),
        ({"planner": "adaptive", "round_cells": 0}, "sweep.round_cells is 0"),
        ({"planner": "adaptive", "seeds": [3]}, "sweep.planner=adaptive adds seeds itself"),
        ({"planner": "adaptive", "budgets": [1e9]}, "sweep.planner=adaptive needs two or more"),
        ({"planner": "adaptive", "target_within": 1.2}, "there is no target that it is about"),
        (
            {"planner": "adaptive", "target": 1e12, "exponent_width": 0.1},
            "set sweep.target_within instead",
        ),
        (
            {"planner": "adaptive", "target": 1e12, "target_within": 1.0},
            "sweep.target_within is 1; it must be above 1",
        ),
        ({"target": 0.0}, "sweep.target is 0.0; it must be a positive number"),
        ({"target": 1e-300}, "sweep.target is 1e-300 FLOPs; it must be at least 1e+06"),
        ({"target_share": 0.0}, "sweep.target_share is 0.0"),
        ({"target_share": 1.5}, "sweep.target_share is 1.5; it must be above 0 and at most 1"),
        ({"budgets": []}, "sweep.budgets is empty"),
    ],
)
def test_what_the_planner_would_not_heed_or_could_not_use_is_refused(
    changes: dict[str, object], said: str
) -> None:
    """Truth: the sentence names the option and its value."""
    with pytest.raises(UserError, match=re.escape(said)):
        a_sweep(**changes)


def test_budgets_follow_from_the_target() -> None:
    """Truth: the largest is the share of it that can be afforded, by default 3%; each is twice the one before."""
    budgets = a_sweep(budgets=[], target=1e12).budgets
    assert budgets[-1] == pytest.approx(3e10)
    assert [upper / lower for lower, upper in itertools.pairwise(budgets)] == [2.0] * 5
    assert a_sweep(budgets=[], target=1e12, target_share=0.01).budgets[-1] == pytest.approx(1e10)
    assert a_sweep(budgets=[1e9, 4e9], target=1e12).budgets == [1e9, 4e9]


def test_with_a_target_the_optimum_there_is_judged() -> None:
    """Truth: the options' own words."""
    exponent = settings_of(a_sweep(planner="adaptive", exponent_width=0.03))
    target = settings_of(a_sweep(planner="adaptive", target=1e12, target_within=1.5))
    assert (exponent.aim, exponent.half_width) == ("α", 0.03)
    assert (target.aim, round(target.half_width, 6)) == ("the optimum at 1e+12 FLOPs", 0.405465)
