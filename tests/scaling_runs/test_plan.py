"""Budgets x shapes -> cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.errors import UserError
from models.flops import params, train_flops_per_token
from scaling_runs.cell import Cell
from scaling_runs.plan import CorpusSize, Plan, launch_order, left_of, plan_single, plan_sweep, require_law
from tests.configs import LOCAL_CORPUS, SWEEPS, config_of, plan_of

SMALL_SWEEPS = ["isoflop_small", "isoflop_tiny"]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_cell_spends_its_budget_to_half_a_step(sweep: str) -> None:
    """Truth: D is the budget over FLOPs a token."""
    for cell in plan_of(f"sweep={sweep}").cells:
        spec = cell.spec
        per_token = train_flops_per_token(spec.shape, spec.seq_len, spec.flop_convention)
        assert abs(spec.tokens - cell.budget / per_token) <= spec.batch_tokens / 2
        assert spec.flops == spec.tokens * per_token


@pytest.mark.parametrize("sweep", SWEEPS)
def test_no_two_cells_of_a_sweep_share_a_folder(sweep: str) -> None:
    ids = [cell.cell_id for cell in plan_of(f"sweep={sweep}").cells]
    assert len(set(ids)) == len(ids)


def test_isoflop_small_is_what_was_asked_for() -> None:
    """Truth: 4 budgets or more, over 16x or more, from about 2e11 FLOPs up, 7 sizes or more, nothing wrong."""
    plan = plan_of("sweep=isoflop_small")
    assert len(plan.budgets) >= 4
    assert plan.budgets[-1] / plan.budgets[0] >= 16 - 1e-9
    assert 1.5e11 < plan.budgets[0] < 2.5e11
    for budget in plan.budgets:
        assert len({cell.params for cell in plan.cells if cell.budget == budget}) >= 7
    assert not plan.problems


def test_isoflop_llama3_is_the_papers() -> None:
    """Truth: arXiv 2407.21783, section 3.2.1."""
    plan = plan_of("sweep=isoflop_llama3")
    assert plan.budgets == [6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21, 1e22]
    sizes = [cell.params for cell in plan.cells]
    assert min(sizes) == pytest.approx(40e6, rel=0.1)
    assert max(sizes) == pytest.approx(16e9, rel=0.05)
    rates = [cell.spec.recipe.lr for cell in plan.cells]
    assert min(rates) == pytest.approx(2e-4, rel=0.02)
    assert max(rates) == pytest.approx(4e-4, rel=0.02)
    for cell in plan.cells:
        assert cell.spec.recipe.warmup_steps == min(2000, round(0.2 * cell.spec.steps))
    assert {problem.code for problem in plan.problems} == {"off-centre"}


def test_isoflop_llama3_trains_as_the_paper_says() -> None:
    """Truth: arXiv 2407.21783, section 3.2.1 and table 3: 250K to 4M tokens a step, one number a budget, rounded to the
    nearest of 1, 2, 3, 4, 6, ... windows of 8,192; cosine to a tenth; decay 0.1 of the rate; 128K words, theta 5e5."""
    plan = plan_of("sweep=isoflop_llama3")
    batches = [{cell.spec.batch_tokens for cell in plan.cells if cell.budget == b} for b in plan.budgets]
    assert all(len(sizes) == 1 for sizes in batches)
    sizes = [size for (size,) in batches]
    assert sizes == sorted(sizes)
    assert sizes[0] == pytest.approx(250e3, rel=0.05)
    assert sizes[-1] == pytest.approx(4e6, rel=0.05)
    for cell in plan.cells:
        recipe, shape = cell.spec.recipe, cell.spec.shape
        assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("adamw", 0.1, 1.0)
        assert (recipe.decay, recipe.final_lr_fraction) == ("cosine", 0.1)
        assert (cell.spec.seq_len, shape.vocab_size, shape.rope_theta) == (8192, 128_256, 5e5)
        assert shape.kv_heads <= 8


def test_isoflop_gpu_has_batches_that_eight_gpus_share() -> None:
    plan = plan_of("sweep=isoflop_gpu")
    assert all(cell.spec.recipe.batch_size % 8 == 0 for cell in plan.cells)
    assert not plan.problems


def test_sizes_are_even_in_log_params_about_the_expected_optimum() -> None:
    """Truth: the grid that was asked for, on a ladder fine enough to hold it."""
    fine = [
        "model.heads=1",
        "model.width_step=2",
        "model.aspect=1e9",
        "sweep.expected_params=1e6",
        "sweep.seeds=[1]",
        "recipe=cosine",
    ]
    plan = plan_of("sweep=isoflop_small", *fine)
    for budget in plan.budgets:
        logs = sorted(math.log(cell.params) for cell in plan.cells if cell.budget == budget)
        gaps = [b - a for a, b in itertools.pairwise(logs)]
        assert gaps == pytest.approx([2 * math.log(4) / 6] * 6, abs=0.04)
        centre = math.log(1e6 * (budget / 2e11) ** 0.5)
        assert sum(logs) / len(logs) == pytest.approx(centre, abs=0.03)


def test_repeats_differ_by_seed_alone() -> None:
    plan = plan_of("sweep=isoflop_tiny", "sweep.seeds=[3]")
    by_shape: dict[tuple[object, ...], list[int]] = {}
    for cell in plan.cells:
        by_shape.setdefault((cell.budget, cell.spec.shape, cell.spec.steps), []).append(cell.spec.seed)
    assert all(seeds == [0, 1, 2] for seeds in by_shape.values())


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        (["sweep.expected_params=1e2"], "off-centre"),
        (["sweep.min_params=8e3"], "off-centre"),
        (["sweep.sizes=2"], "too-few-sizes"),
        (["recipe.batch_tokens=16384"], "few-steps"),
        (
            ["sweep.budgets=[1e15]", "sweep.expected_params=1e3", "sweep.expected_exponent=0.01"],
            "repeated-data",
        ),
        (["recipe.batch_tokens=65536"], "rounding"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_before_anything_is_spent(overrides: list[str], code: str) -> None:
    clean = {problem.code for problem in plan_of("sweep=isoflop_tiny", "recipe=cosine").problems}
    found = {problem.code for problem in plan_of("sweep=isoflop_tiny", "recipe=cosine", *overrides).problems}
    assert code not in clean
    assert code in found


def test_a_budget_below_one_step_is_refused() -> None:
    with pytest.raises(UserError, match=r"budget of 1e\+05 FLOPs is too small: one step of the w4-d1-h2"):
        plan_of("sweep=isoflop_tiny", "sweep.budgets=[1e5]")


@pytest.mark.parametrize(
    "overrides", [["sweep.sizes=2"], ["sweep.budgets=[1e10]"], ["sweep.sizes=2", "sweep.seeds=[2]"]]
)
def test_a_plan_that_can_give_no_law_is_refused_before_it_is_trained(overrides: list[str]) -> None:
    """Truth: a parabola has three coefficients, a line two."""
    with pytest.raises(UserError, match=r"has 3 or more sizes at [01] of its [13] budgets; a law needs 2"):
        require_law(plan_of("sweep=isoflop_tiny", *overrides))


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_shipped_plan_can_give_a_law(sweep: str) -> None:
    require_law(plan_of(f"sweep={sweep}"))


def test_bounds_that_leave_no_size_are_refused() -> None:
    with pytest.raises(UserError, match=r"no sizes are left at 1e\+10 FLOPs"):
        plan_of("sweep=isoflop_tiny", "sweep.min_params=1e6")


def test_a_corpus_enters_every_cells_identity() -> None:
    """The same plan over other text shares no folder."""
    config = config_of("sweep=isoflop_tiny")
    other = CorpusSize("1" * 64, 257, LOCAL_CORPUS.train_tokens)
    ours = {cell.cell_id for cell in plan_sweep(config, LOCAL_CORPUS, "fp32").cells}
    assert not ours & {cell.cell_id for cell in plan_sweep(config, other, "fp32").cells}


def test_one_cell_needs_a_budget_and_a_width() -> None:
    with pytest.raises(UserError, match=r"give sweep=NAME, or both budget=FLOPS and model\.width=WIDTH"):
        plan_single(config_of("budget=1e12"), LOCAL_CORPUS, "fp32")
    plan = plan_single(config_of("budget=1e12", "model.width=64"), LOCAL_CORPUS, "fp32")
    assert [cell.spec.shape.width for cell in plan.cells] == [64]


@pytest.mark.parametrize(
    ("sweep", "least", "most"), [("isoflop_llama3", 5e7, 16e9), ("isoflop_tiny", 5e3, 14e3)]
)
def test_no_size_is_planned_outside_of_its_bounds(sweep: str, least: float, most: float) -> None:
    """Truth: the bounds themselves, which fall between two rungs."""
    plan = plan_of(f"sweep={sweep}", f"sweep.min_params={least}", f"sweep.max_params={most}")
    sizes = [cell.params for cell in plan.cells]
    assert least <= min(sizes)
    assert max(sizes) <= most


def test_bounds_that_hold_too_few_rungs_are_told() -> None:
    """Truth: the rungs of the ladder that lie within the bounds, counted."""
    bounds = ["sweep.min_params=5.5e3", "sweep.max_params=9.9e3"]
    plan = plan_of("sweep=isoflop_tiny", "sweep.sizes=30", *bounds)
    config = config_of("sweep=isoflop_tiny")
    first = itertools.islice(config.model.ladder(257).rungs(), 100)
    within = sum(5.5e3 <= params(rung, config.model.seq_len, "no_embedding") <= 9.9e3 for rung in first)
    assert 0 < within < 30
    for budget in plan.budgets:
        assert len([cell for cell in plan.cells if cell.budget == budget]) == within
        (said,) = (p.text for p in plan.problems if (p.code, p.budget) == ("few-rungs", budget))
        assert said.startswith(f"{within} sizes where sweep.sizes=30")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["budget=1e300"], "asks for batches of"),
        (["budget=1e300", "recipe.batch_exponent=0"], r"more than 1e\+16; lower the budget"),
        (["budget=1e9", "recipe.batch_tokens=1e308"], "asks for batches of"),
        (
            ["budget=1e9", "recipe.batch_exponent=10", "recipe.batch_flops=1e-300"],
            r"recipe\.batch_exponent is 10",
        ),
        (["budget=1e9", "recipe.lr_exponent=10", "recipe.lr_params=1e-300"], r"recipe\.lr_exponent is 10"),
    ],
)
def test_a_cell_of_no_machine_is_refused(overrides: list[str], said: str) -> None:
    """Truth: no array holds such a batch, and no text such a run."""
    with pytest.raises(UserError, match=said):
        plan_single(config_of("model.width=16", "recipe=cosine", *overrides), LOCAL_CORPUS, "fp32")


# ---- trunks

TRUNKS = ["sweep=isoflop_small", "sweep.budgets=[2e11,3.2e11,5.12e11,8.192e11]"]


def test_budgets_share_their_sizes_and_each_size_is_trained_once() -> None:
    """Truth: cells counted by shape: all but the longest of each go on from its trunk."""
    plan = plan_of(*TRUNKS)
    by_shape: dict[object, list[Cell]] = {}
    for cell in plan.cells:
        by_shape.setdefault(cell.spec.shape, []).append(cell)
    assert len(by_shape) <= 9  # two grids of seven whose centres lie a factor of two apart
    assert sorted(map(len, plan.trunks())) == sorted(map(len, by_shape.values()))
    for cells in by_shape.values():
        longest = max(cells, key=lambda cell: cell.spec.steps)
        for cell in cells:
            cooldown = cell.spec.recipe.cooldown_steps
            assert cooldown == pytest.approx(0.2 * cell.spec.steps, abs=0.51)
            assert cell.trained_steps == (cell.spec.steps if cell is longest else cooldown)
    assert not plan.problems


def test_a_grid_of_shared_places_is_centred_to_half_of_its_spacing() -> None:
    """Truth: the expected optimum, on a ladder that holds every place."""
    plan = plan_of(*TRUNKS, "model.heads=1", "model.width_step=2", "model.aspect=1e9")
    for budget in plan.budgets:
        logs = [math.log(cell.params) for cell in plan.cells if cell.budget == budget]
        centre = math.log(3.5e4 * (budget / 2e11) ** 0.5)
        assert sum(logs) / len(logs) == pytest.approx(centre, abs=math.log(4) / 6 + 0.05)


def test_twice_as_many_budgets_on_trunks_cost_what_half_as_many_do_without() -> None:
    """Truth: geometric series: budgets 2.5x apart cost 1/(1 - 1/2.5) = 1.67 of a size's largest; 1.6x apart, each but
    the largest by its fifth, 1 + 0.2/(1.6 - 1) = 1.33."""
    first = 2e11
    plain = plan_of(
        "sweep=isoflop_small", f"sweep.budgets={[first * 2.5**i for i in range(4)]}", "recipe=cosine"
    )
    shared = plan_of(
        "sweep=isoflop_small", f"sweep.budgets={[first * 1.6**i for i in range(7)]}", "recipe=wsd"
    )
    for plan, ratio in ((plain, 1.67), (shared, 1.33)):
        largest = sum(cells[0].spec.flops for cells in _by_shape(plan))
        assert 1 < plan.flops / largest < ratio
    assert plain.flops == plain.flops_without_trunks
    assert shared.flops < plain.flops


def _by_shape(plan: Plan) -> list[list[Cell]]:
    cells = sorted(plan.cells, key=lambda cell: (cell.spec.shape.width, -cell.spec.steps))
    return [
        list(of_shape) for _, of_shape in itertools.groupby(cells, key=lambda cell: cell.spec.shape.width)
    ]


@pytest.fixture(scope="module")
def forked() -> Plan:
    return plan_of(*TRUNKS)


@given(st.randoms(use_true_random=False))
def test_whoever_trains_a_trunk_is_launched_before_those_that_fork_from_it(
    forked: Plan, random: Random
) -> None:
    """Truth: the two orders themselves: trunks by their seconds, and each fork after its trunk."""
    plan = forked
    seconds = {cell.cell_id: random.random() for cell in plan.cells}
    ordered = launch_order(plan, seconds)
    assert sorted(cell.cell_id for cell in ordered) == sorted(seconds)
    first = [cell for cell in ordered if cell.fork_steps == 0]
    assert ordered[: len(first)] == first
    assert [seconds[cell.cell_id] for cell in first] == sorted(
        (seconds[cell.cell_id] for cell in first), reverse=True
    )
    trunks = [cell.spec.trunk_id for cell in first]
    places = [trunks.index(cell.spec.trunk_id) for cell in ordered[len(first) :]]
    assert places == sorted(places)


def simulated_steps(cells: Sequence[Cell], states: set[int]) -> dict[str, int]:
    """Steps that each cell of one trunk trains, by letting one after the other train, most steps first, each leaving
    a state where the cooldown of any is to begin."""
    there, trained = set(states), {}
    for cell in sorted(cells, key=lambda cell: -cell.spec.steps):
        start = max((step for step in there if step <= cell.spec.trunk_steps), default=0)
        trained[cell.cell_id] = cell.spec.steps - start
        there |= {
            one.spec.trunk_steps for one in cells if start < one.spec.trunk_steps <= cell.spec.trunk_steps
        }
    return trained


@given(st.data())
def test_what_is_left_goes_on_from_the_states_that_are_there(forked: Plan, data: st.DataObject) -> None:
    """Truth: the training itself, simulated; whatever is finished and whichever states are in the store."""
    cells = forked.cells
    finished = data.draw(st.sets(st.sampled_from([cell.cell_id for cell in cells])))
    ends = {cell.spec.trunk_id: cell.spec.trunk_steps for cell in cells}
    states = {
        trunk: data.draw(
            st.sets(
                st.integers(1, end)
                | st.sampled_from([cell.spec.trunk_steps for cell in cells if cell.spec.trunk_id == trunk]),
                max_size=3,
            )
        )
        for trunk, end in ends.items()
    }
    left = left_of(forked, finished, states)
    assert {cell.cell_id for cell in left.cells} == {cell.cell_id for cell in cells} - finished
    for trunk in left.trunks():
        expected = simulated_steps(trunk, states[trunk[0].spec.trunk_id])
        assert {cell.cell_id: cell.trained_steps for cell in trunk} == expected
    seconds = dict.fromkeys((cell.cell_id for cell in cells), 1.0)
    assert {cell.cell_id for cell in launch_order(left, seconds)} == {cell.cell_id for cell in left.cells}


def test_with_nothing_in_the_store_all_is_left(forked: Plan) -> None:
    assert left_of(forked, (), {}).cells == forked.cells


def test_budgets_that_round_to_one_cell_have_one_place_in_a_trunk() -> None:
    """Truth: the cells' own hashes; whoever trains the trunk is launched as such."""
    plan = plan_of("sweep=isoflop_small", "sweep.budgets=[1e10,1.012e10,2e10]", "recipe.batch_tokens=16384")
    ids = [cell.cell_id for cell in plan.cells]
    assert len(set(ids)) < len(ids)
    for trunk in plan.trunks():
        assert len({cell.cell_id for cell in trunk}) == len(trunk)
    ordered = launch_order(plan, dict.fromkeys(ids, 1.0))
    assert sorted(cell.cell_id for cell in ordered) == sorted(ids)
