"""Which cells an audit trains, and what it costs."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs.audit.choice import (
    FAR_APART,
    MAX_SHARE,
    PERTURBATIONS,
    Audit,
    Perturbation,
    choose_audit,
    choose_budgets,
    perturbed,
)
from scaling_runs.plan import CorpusSize, Plan
from tests.configs import LOCAL_CORPUS, SWEEPS, config_of, plan_of


def corpus_of(plan: Plan) -> CorpusSize:
    """That of the plan's cells."""
    spec = plan.cells[0].spec
    return CorpusSize(spec.corpus, spec.shape.vocab_size, LOCAL_CORPUS.train_tokens)


def audit_of(*overrides: str) -> tuple[Audit, Plan]:
    """The audit of a sweep, and the sweep's plan."""
    plan = plan_of(*overrides)
    return choose_audit(config_of(*overrides), plan, corpus_of(plan)), plan


def test_isoflop_small_is_audited_within_half_its_flops() -> None:
    """Truth: worked out by hand. Four changes of two sizes cost eight times a budget, for each is trained from nothing;
    the sweep itself costs 3.04e13, by its trunks: with 1.8e11 a top budget of 1.95e12 would cost 56%, 1.3e12 39%."""
    audit, plan = audit_of("sweep=isoflop_small")
    assert audit.budgets == (1.8e11, 1.3e12)
    assert audit.share == pytest.approx(8 * (1.8e11 + 1.3e12) / 3.04e13, rel=0.01)
    assert len(audit.cells) == 16
    assert audit.left_out == ()
    for budget in audit.budgets:
        small, large = audit.sizes(budget)
        optimum = 3.5e4 * (budget / 2e11) ** 0.5
        assert 1.9 < optimum / small < 3.2
        assert 1.9 < large / optimum < 3.2
    assert {one.of for one in audit.cells} <= set(plan.cells)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_no_cell_of_an_audit_is_one_of_the_sweep_or_another_of_the_audit(sweep: str) -> None:
    """Truth: hashes of everything that determines a result."""
    audit, plan = audit_of(f"sweep={sweep}")
    ids = [one.cell.cell_id for one in audit.cells] + [cell.cell_id for cell in plan.cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_perturbed_cell_differs_by_its_perturbation_alone(sweep: str) -> None:
    """Truth: the sweep's own cell, field by field; tokens to half a step, and what follows from the steps."""
    audit, _ = audit_of(f"sweep={sweep}")
    for one in audit.cells:
        spec, rule, change = one.cell.spec, one.of.spec, one.perturbation
        assert spec.recipe.lr == pytest.approx(rule.recipe.lr * change.lr)
        assert (spec.recipe.muon_lr is None) == (rule.recipe.muon_lr is None)
        if rule.recipe.muon_lr is not None:
            assert spec.recipe.muon_lr == pytest.approx(rule.recipe.muon_lr * change.lr)
        assert spec.recipe.batch_size == rule.recipe.batch_size * change.batch
        assert abs(spec.tokens - rule.tokens) <= (spec.batch_tokens + rule.batch_tokens) / 2
        of_steps = {
            "warmup_steps": rule.recipe.warmup_steps,
            "lr": rule.recipe.lr,
            "muon_lr": rule.recipe.muon_lr,
            "cooldown_steps": rule.recipe.cooldown_steps,
            "constant_steps": rule.recipe.constant_steps,
        }
        alike = dataclasses.replace(spec.recipe, batch_size=rule.recipe.batch_size, **of_steps)
        assert dataclasses.replace(spec, steps=rule.steps, recipe=alike) == rule
        assert one.cell.budget == one.of.budget


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_perturbation_by_nothing_is_the_sweeps_own_cell(sweep: str) -> None:
    """Truth: the sweep's cells and their hashes, rounded batches, capped batches and all."""
    overrides = (f"sweep={sweep}", "recipe.max_batch_tokens=3e5")
    config, plan = config_of(*overrides), plan_of(*overrides)
    for cell in plan.cells:
        again = perturbed(config, corpus_of(plan), cell, Perturbation("none"))
        assert again.cell_id == cell.cell_id


def test_every_seed_of_a_size_is_perturbed() -> None:
    """Truth: the sweep's seeds, budget by budget."""
    audit, _ = audit_of("sweep=isoflop_small", "sweep.seeds=[3,2,2,2,2,2,2,2]")
    for budget, seeds in ((audit.budgets[0], 3), (audit.budgets[1], 2)):
        for change in PERTURBATIONS:
            of_change = [
                one.cell for one in audit.cells if one.perturbation == change and one.cell.budget == budget
            ]
            assert sorted((cell.params, cell.spec.seed) for cell in of_change) == list(
                itertools.product(audit.sizes(budget), range(seeds))
            )


@given(
    st.lists(st.floats(1e9, 1e24), min_size=2, max_size=9, unique=True),
    st.integers(3, 12),
)
def test_two_budgets_are_as_far_apart_as_their_cost_allows(budgets: list[float], sizes: int) -> None:
    """Truth: every other pair with the lowest budget, tried one by one."""
    budgets = sorted(budgets)
    total = sizes * sum(budgets)
    low, high = choose_budgets(budgets, lambda budget: 8 * budget, total)
    assert low == budgets[0] < high

    def cheap(budget: float) -> bool:
        return 8 * (low + budget) <= MAX_SHARE * total

    far = [budget for budget in budgets[1:] if budget >= FAR_APART * low]
    if not far:
        assert high == budgets[-1]
    elif any(cheap(budget) for budget in far):
        assert cheap(high)
        assert high in far
        assert not any(cheap(budget) for budget in far if budget > high)
    else:
        assert high == min(far)


def test_a_batch_that_has_no_half_is_not_halved() -> None:
    """Truth: three sequences have no half that is whole; the other three changes are tried."""
    audit, _ = audit_of("sweep=isoflop_tiny", "recipe.batch_tokens=192")
    assert {one.of.spec.recipe.batch_size for one in audit.cells} == {3}
    assert [one.name for one in audit.perturbations] == ["lr x2", "lr /2", "batch x2"]
    assert audit.left_out == ("batch /2 is not tried: at 1e+10 FLOPs a batch of 3 sequences has no half",)


@pytest.mark.parametrize("change", ["sweep.budgets=[1e10]", "sweep.sizes=2"])
def test_a_sweep_that_has_no_two_parabolas_can_not_be_audited(change: str) -> None:
    """Truth: a shift needs a curvature, and an exponent two budgets; the sentence says so before anything is spent."""
    with pytest.raises(UserError, match="audit=true needs two budgets of 3 sizes"):
        audit_of("sweep=isoflop_tiny", change)
