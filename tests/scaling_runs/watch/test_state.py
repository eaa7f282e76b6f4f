"""What the live page draws, by the store of a sweep that is under way."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fit.errors import UserError
from scaling_runs.cell import Cell
from scaling_runs.plan import Plan
from scaling_runs.store import Store
from scaling_runs.sweep_record import write_plan
from scaling_runs.watch.state import SweepView
from tests.scaling_runs.test_launching import finish, valley


@pytest.fixture
def recorded(store: Store, plan: Plan) -> Store:
    """The store of a sweep that was planned: each cell takes 10 seconds."""
    write_plan(store.sweep_folder(plan.name), plan.cells, {cell.cell_id: 10.0 for cell in plan.cells})
    return store


@pytest.fixture
def view(recorded: Store, plan: Plan) -> SweepView:
    return SweepView(plan.name, str(recorded.root))


def look(view: SweepView) -> dict:
    """At once, however short ago the last look was."""
    view.next_look = 0.0
    return view.state()


def of_budget(plan: Plan, index: int) -> list[Cell]:
    return [cell for cell in plan.cells if cell.budget == plan.budgets[index]]


def test_each_cell_is_shown_as_it_stands(recorded: Store, plan: Plan, view: SweepView) -> None:
    """Truth: one finished, one failed, one half done by a process that lives, the rest waiting."""
    done, failed, running, *waiting = plan.cells
    finish(recorded, done)
    recorded.cell(failed.cell_id).write_failure("the loss is nan\nand more")
    folder = recorded.cell(running.cell_id)
    folder.begin_attempt()
    (folder.path / "progress.json").write_text(f'{{"step": 1, "flops": {0.5 * running.spec.flops}}}')
    with folder.lock():
        state = look(view)
    assert state["counts"] == {"finished": 1, "running": 1, "waiting": len(waiting), "failed": 1}
    assert state["share"] == pytest.approx((done.trained_flops + 0.5 * running.trained_flops) / plan.flops)
    assert state["left_s"] == pytest.approx(5 + 10 * len(waiting))
    cells = {cell["id"]: cell for budget in state["budgets"] for cell in budget["cells"]}
    assert cells[done.cell_id]["loss"] == pytest.approx(valley(done))
    assert cells[failed.cell_id]["reason"] == "the loss is nan"
    assert cells[running.cell_id]["share"] == pytest.approx(0.5)
    for cell in plan.cells:
        shown = cells[cell.cell_id]
        assert (shown["params"], shown["tokens"]) == (cell.spec.params, cell.spec.tokens)
    json.dumps(state, allow_nan=False)


def curve(state: dict, axis: str = "params") -> list[dict]:
    """Traces of the first budget but its points: a parabola, and its minimum."""
    return [trace for trace in state["charts"][axis]["data"] if trace.get("showlegend") is False]


def test_a_valley_is_drawn_from_three_sizes_on_with_its_minimum(
    recorded: Store, plan: Plan, view: SweepView
) -> None:
    """Truth: losses on a parabola in log params, whose minimum is given."""
    first = of_budget(plan, 0)
    centre = float(np.sqrt(first[0].params * first[-1].params))
    assert "no cell has finished yet" in json.dumps(look(view)["charts"]["tokens"]["layout"])
    for number, cell in enumerate(first[:3]):
        assert curve(look(view)) == [], number
        finish(recorded, cell, 2.0 + 0.1 * np.log(cell.params / centre) ** 2)
    parabola, minimum = curve(look(view))
    assert minimum["x"] == [pytest.approx(centre)]
    assert minimum["y"] == [pytest.approx(2.0)]
    for size, loss in zip(parabola["x"], parabola["y"], strict=True):
        assert loss == pytest.approx(2.0 + 0.1 * np.log(size / centre) ** 2)
    low, high = look(view)["charts"]["params"]["layout"]["xaxis"]["range"]
    assert 10**low < min(cell.spec.params for cell in plan.cells)
    assert 10**high > max(cell.spec.params for cell in plan.cells)


def test_an_audits_cells_are_shown_and_bend_no_valley(recorded: Store, plan: Plan, view: SweepView) -> None:
    """Truth: the valley before there was one, of a cell trained again at another rate to a loss far off."""
    first = of_budget(plan, 0)
    for cell in first:
        finish(recorded, cell)
    before = curve(look(view))
    recipe = dataclasses.replace(first[0].spec.recipe, lr=1.0)
    again = dataclasses.replace(first[0], spec=dataclasses.replace(first[0].spec, recipe=recipe))
    recorded.add(again.spec)
    finish(recorded, again, 9.0)
    cells = [*plan.cells, again]
    write_plan(recorded.sweep_folder(plan.name), cells, {cell.cell_id: 10.0 for cell in cells})
    state = look(view)
    hollow = [trace for trace in curve(state) if trace.get("marker", {}).get("symbol") == "circle-open"]
    assert [trace["y"] for trace in hollow] == [[9.0]]
    assert [trace for trace in curve(state) if trace not in hollow] == before
    assert [cell["id"] for cell in state["budgets"][0]["cells"] if cell["audit"]] == [again.cell_id]


def test_a_sweep_that_is_whole_and_has_its_fit_says_so(recorded: Store, plan: Plan, view: SweepView) -> None:
    for cell in plan.cells:
        finish(recorded, cell)
    state = look(view)
    assert (state["left_s"], state["share"], state["concluded"]) == (0, 1, False)
    (recorded.sweep_folder(plan.name) / "fit.json").write_text("{}")
    assert look(view)["concluded"]


def test_a_result_is_read_once_and_a_cell_that_is_open_each_time(
    recorded: Store, plan: Plan, view: SweepView
) -> None:
    """Truth: what is on the page once the file is gone, which nobody but this test removes."""
    cell = plan.cells[0]
    finish(recorded, cell)
    look(view)
    (recorded.cell(cell.cell_id).path / "spec.json").unlink()
    assert look(view)["budgets"][0]["cells"][0]["loss"] == pytest.approx(valley(cell))
    finish(recorded, plan.cells[1])
    assert look(view)["counts"]["finished"] == 2


def test_looks_are_seldomer_the_longer_they_take(recorded: Store, plan: Plan, view: SweepView) -> None:
    """Truth: between two looks nothing new is seen."""
    before = view.state()
    finish(recorded, plan.cells[0])
    assert view.state() is before
    assert look(view)["counts"]["finished"] == 1


def test_a_cells_lock_is_seldom_taken_to_ask_who_has_it(recorded: Store, plan: Plan, view: SweepView) -> None:
    """Truth: a process that lets go of the cell, and that takes it again while the page is looked at."""
    folder = recorded.cell(plan.cells[0].cell_id)
    folder.begin_attempt()
    with folder.lock():
        assert look(view)["counts"]["running"] == 1
        signed = (folder.path / ".lock").read_text()
    for _ in range(3):
        assert look(view)["counts"]["running"] == 1
    assert (folder.path / ".lock").read_text() == signed
    view.locks.clear()
    assert look(view)["counts"]["running"] == 0


def test_an_unknown_sweep_is_told_with_those_that_are_there(recorded: Store) -> None:
    with pytest.raises(
        UserError, match=r"sweep 'isoflop_tny' is not in the store .*, which has isoflop_tiny"
    ):
        SweepView("isoflop_tny", str(recorded.root)).state()
