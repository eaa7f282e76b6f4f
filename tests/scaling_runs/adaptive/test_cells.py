"""From what the planner asks for to cells of the project's own ladder."""

from __future__ import annotations

import pytest

from fit.errors import UserError
from models.flops import train_flops_per_token
from scaling_runs.adaptive.cells import Foundry, plan_first_round, settings_of
from scaling_runs.adaptive.records import Request
from scaling_runs.problems import MIN_STEPS, cell_problems
from tests.configs import LOCAL_CORPUS, config_of

ADAPTIVE = ["sweep=isoflop_tiny", "sweep.planner=adaptive"]


def foundry(*overrides: str) -> Foundry:
    return Foundry(config_of(*ADAPTIVE, *overrides), LOCAL_CORPUS, "fp32")


def test_a_request_is_the_cell_that_a_grid_would_train_there() -> None:
    """Truth: FLOPs of the shape times its tokens, about the budget; the params and the seed that were asked for."""
    made = foundry()
    size = list(made.space().sizes(1.5e10))[3]
    cell = made.cell(Request(1.5e10, size, 2))
    spent = cell.spec.tokens * train_flops_per_token(cell.spec.shape, cell.spec.seq_len, "exact")
    assert (cell.params, cell.spec.seed, cell.budget) == (size, 2, 1.5e10)
    assert made.space().cost(Request(1.5e10, size, 2)) == spent == pytest.approx(1.5e10, rel=0.02)


def test_every_size_trains_for_enough_steps_on_text_that_is_not_repeated_too_often() -> None:
    """Truth: the problems that a plan is told of have none of either kind, and the next rung has too few steps."""
    made = foundry()
    sizes = list(made.space().sizes(1e10))
    assert sizes == sorted(sizes)
    for size in sizes:
        problems = cell_problems(made.cell(Request(1e10, size, 0)))
        assert {problem.code for problem in problems}.isdisjoint({"few-steps", "repeated-data"})
    steps = [made.cell(Request(1e10, size, 0)).spec.steps for size in sizes]
    assert steps[-1] >= MIN_STEPS
    assert steps[-1] < 2 * MIN_STEPS


def test_sizes_keep_to_the_users_bounds() -> None:
    """Truth: sweep.min_params and sweep.max_params."""
    sizes = list(foundry("sweep.min_params=4e3", "sweep.max_params=1e4").space().sizes(1e10))
    assert sizes[0] >= 4e3
    assert sizes[-1] <= 1e4


def test_a_budget_that_trains_no_size_is_refused() -> None:
    """Truth: at 1e6 FLOPs the smallest rung takes no hundred steps."""
    with pytest.raises(UserError, match="no size can be trained at 1e\\+06 FLOPs for 100 steps"):
        plan_first_round(config_of(*ADAPTIVE, "sweep.budgets=[1e6,1e10]"), LOCAL_CORPUS, "fp32")


def test_by_default_it_may_spend_what_the_grid_would() -> None:
    """Truth: sizes times budgets, of isoflop_tiny's own file."""
    sweep = config_of(*ADAPTIVE).sweep
    assert sweep is not None
    assert settings_of(sweep).max_flops == pytest.approx(4 * (1e10 + 1.5e10 + 2.2e10))


def test_a_cell_costs_what_its_trunk_does_not_spare_it() -> None:
    """Truth: steps: from the cooldown of the smaller budget's cell of the same model; another model starts anew."""
    made = foundry("recipe=wsd")
    shared = sorted(set(made.space().sizes(1e10)) & set(made.space().sizes(1.5e10)))
    small, large = Request(1e10, shared[0], 0), Request(1.5e10, shared[0], 0)
    spec = made.cell(large).spec
    spared = made.cell(small).spec.trunk_steps
    assert made.space().cost(large) == spec.flops
    after = made.space([small])
    assert after.cost(large) == spec.flops // spec.steps * (spec.steps - spared)
    other = Request(1.5e10, shared[1], 0)
    assert after.cost(other) == made.cell(other).spec.flops
    assert made.plan([large], [small]).flops == after.cost(large)
