"""Launching, and what is made of the cells: tested with launchers that train nothing and obey a known law."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.errors import UserError
from fit.table import load_runs
from scaling_runs.plan import Cell, Plan
from scaling_runs.store import CellBusy, Store
from scaling_runs.sweeper import (
    MAX_IDLE_DEATHS,
    _longest_first,
    conclude,
    run_sweep,
    table_rows,
    to_csv,
    train_all,
)
from tests.configs import config_of, plan_of

SWEEP = ["sweep=isoflop_tiny", "tracking=off"]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(*SWEEP)


@pytest.fixture
def store(tmp_path: Path, plan: Plan) -> Store:
    return filled(tmp_path, plan.cells)


def filled(root: Path, cells: Sequence[Cell]) -> Store:
    store = Store(root)
    for cell in cells:
        store.add(cell.spec)
    return store


def valley(cell: Cell) -> float:
    """Nats a token: a parabola in log N about N*(C) = 1e-2·C^0.55, falling with compute."""
    optimum = 1e-2 * cell.budget**0.55
    return 1.5 + 0.05 * math.log(cell.params / optimum) ** 2 + 100 * cell.budget**-0.25


def finish(store: Store, cell: Cell, loss: float | None = None) -> None:
    """As a worker ends a cell, less its training."""
    spec = cell.spec
    store.cell(cell.cell_id).write_result(
        {
            "run_id": cell.cell_id,
            "flops": spec.flops,
            "params": cell.params,
            "tokens": spec.tokens,
            "loss": valley(cell) if loss is None else loss,
            "seed": spec.seed,
            "width": spec.shape.width,
            "lr": spec.recipe.lr,
            "wall_s": 1.5,
            "status": "finished",
        }
    )


class Launcher:
    """Trains nothing: `side_by_side` cells at a time are begun together, and end by `outcome`."""

    def __init__(self, store: Store, cells: Sequence[Cell], side_by_side: int = 2) -> None:
        self.store, self.side_by_side = store, side_by_side
        self.cells = {cell.cell_id: cell for cell in cells}
        self.launched: list[list[str]] = []
        self.deadly: set[str] = set()
        """Cells that kill their worker."""
        self.accidents: list[int] = []
        """Numbers of launches in which a worker dies of something else."""

    def __call__(self, cell_ids: Sequence[str]) -> list[BaseException | None]:
        self.launched.append(list(cell_ids))
        for first in range(0, len(cell_ids), self.side_by_side):
            group = cell_ids[first : first + self.side_by_side]
            for cell_id in group:
                self.store.cell(cell_id).begin_attempt()
            if self.deadly & set(group) or (len(self.launched) in self.accidents and first == 0):
                raise RuntimeError("a worker process was terminated")
            for cell_id in group:
                finish(self.store, self.cells[cell_id])
        return [None] * len(cell_ids)


def statuses(store: Store, cells: Sequence[Cell]) -> list[str]:
    return [store.cell(cell.cell_id).status() for cell in cells]


def test_what_is_not_finished_is_launched_once_in_the_order_given(store: Store, plan: Plan) -> None:
    """Truth: all cells less the finished one."""
    finish(store, plan.cells[3])
    launch = Launcher(store, plan.cells)
    train_all(store, plan.cells, launch)
    assert launch.launched == [[cell.cell_id for cell in plan.cells if cell is not plan.cells[3]]]
    train_all(store, plan.cells, launch)
    assert len(launch.launched) == 1


def test_what_a_launcher_says_went_wrong_is_recorded_and_the_rest_goes_on(store: Store, plan: Plan) -> None:
    """Truth: the error's own words, or its name where it has none; the reason that a cell wrote itself stays."""
    silent, telling, own, *rest = plan.cells
    store.cell(own.cell_id).write_failure("the loss is nan")
    errors: dict[str, BaseException] = {
        silent.cell_id: MemoryError(),
        telling.cell_id: OSError("disk full"),
        own.cell_id: ValueError("what the launcher saw"),
    }

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        for cell in rest:
            finish(store, cell)
        return [errors.get(cell_id) for cell_id in cell_ids]

    train_all(store, plan.cells, launch)
    reasons = [store.cell(cell.cell_id).failure() for cell in (silent, telling, own)]
    assert reasons == ["MemoryError", "disk full", "the loss is nan"]
    assert statuses(store, rest) == ["finished"] * len(rest)


def test_a_cell_that_another_process_trains_is_left_to_it(store: Store, plan: Plan) -> None:
    """Truth: nothing is written into its folder; its row says why it has no loss."""
    busy, *rest = plan.cells
    store.cell(busy.cell_id).begin_attempt()

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        for cell in rest:
            finish(store, cell)
        return [CellBusy("busy") if cell_id == busy.cell_id else None for cell_id in cell_ids]

    train_all(store, plan.cells, launch)
    assert store.cell(busy.cell_id).failure() is None
    row = next(row for row in table_rows(plan, store) if row["run_id"] == busy.cell_id)
    assert (row["status"], row["status_reason"]) == ("failed", "another process is training it")


def test_after_a_worker_died_what_is_left_is_launched_again(store: Store, plan: Plan) -> None:
    """Truth: every cell is finished and none is blamed for an accident."""
    launch = Launcher(store, plan.cells)
    launch.accidents = [1]
    train_all(store, plan.cells, launch)
    assert set(statuses(store, plan.cells)) == {"finished"}
    assert len(launch.launched) == 2


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_only_the_cells_that_kill_their_workers_fail(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, data: st.DataObject
) -> None:
    """Truth: the killers, whoever was in the works beside them and whatever an earlier run left begun or failed.

    A worker that dies takes its neighbours along: none of them may be blamed. Accidents come before the first killer
    shows, and no oftener than a cell may be in one without suspicion.
    """
    cells = plan.cells[:7]
    store = filled(tmp_path_factory.mktemp("store"), cells)
    places = st.sets(st.integers(0, len(cells) - 1), max_size=4)
    deadly = data.draw(places, "kill their worker")
    for place in data.draw(places, "begun by an earlier run"):
        store.cell(cells[place].cell_id).begin_attempt()
    for place in data.draw(places, "failed in an earlier run"):
        store.cell(cells[place].cell_id).write_failure("an earlier reason")
    launch = Launcher(store, cells, data.draw(st.integers(1, 4), "side by side"))
    launch.deadly = {cells[place].cell_id for place in deadly}
    launch.accidents = data.draw(st.sampled_from([[], [1], [2]]), "accidents")
    train_all(store, cells, launch)
    expected = ["failed" if place in deadly else "finished" for place in range(len(cells))]
    assert statuses(store, cells) == expected
    for cell_id in launch.deadly:
        assert "its worker process died" in (store.cell(cell_id).failure() or "")
        assert launch.launched.count([cell_id]) >= 1, "it is blamed alone"


def test_a_launcher_that_cannot_even_begin_is_not_asked_for_ever(store: Store, plan: Plan) -> None:
    """Truth: its own error, after as many tries as the constant says; no cell is blamed."""
    tries = []

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        tries.append(cell_ids)
        raise OSError("no queue answers")

    with pytest.raises(OSError, match="no queue answers"):
        train_all(store, plan.cells, launch)
    assert len(tries) == MAX_IDLE_DEATHS
    assert set(statuses(store, plan.cells)) == {"waiting"}


def test_an_interruption_is_no_workers_death(store: Store, plan: Plan) -> None:
    """Truth: Ctrl-C ends the sweep at once."""

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all(store, plan.cells, launch)
    assert set(statuses(store, plan.cells)) == {"waiting"}


def test_long_cells_are_launched_first(plan: Plan) -> None:
    """Truth: the estimates, sorted."""
    seconds = {cell.cell_id: float(hash(cell.cell_id) % 97) for cell in plan.cells}
    ordered = [seconds[cell.cell_id] for cell in _longest_first(plan, seconds)]
    assert ordered == sorted(seconds.values(), reverse=True)


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_rows_are_ordered_by_budget_width_and_seed(tmp_path: Path) -> None:
    """Truth: sorted by those three, whatever order the plan and the training had."""
    plan = plan_of(*SWEEP, "sweep.seeds=[2]")
    store = filled(tmp_path, plan.cells)
    for cell in plan.cells[::-2]:
        finish(store, cell)
    shuffled = Plan(plan.name, plan.cells[::-1], ())
    rows = table_rows(shuffled, store)
    places = [(row["budget"], row["width"], row["seed"]) for row in rows]
    assert places == sorted(places)
    assert len(set(places)) == len(plan.cells)
    assert rows == table_rows(plan, store)


@pytest.mark.parametrize("finished", [0, 1, 5, 12])
def test_the_table_has_every_column_whichever_cells_failed(store: Store, plan: Plan, finished: int) -> None:
    """Truth: contract 1's columns, the budget first and the reason last; a row a cell, failed ones without a loss."""
    for cell in plan.cells[len(plan.cells) - finished :]:
        finish(store, cell)
    store.cell(plan.cells[0].cell_id).write_failure("first line\nsecond, with a comma")
    rows = parsed(to_csv(table_rows(plan, store)))
    assert len(rows) == len(plan.cells) == 12
    columns = list(rows[0])
    assert (columns[0], columns[-1]) == ("budget", "status_reason")
    assert {"flops", "params", "tokens", "loss", "seed", "run_id", "wall_s", "status"} <= set(columns)
    assert ("lr" in columns) == (finished > 0)
    assert sum(row["status"] == "finished" for row in rows) == finished
    for row in rows:
        assert (row["loss"] == "") == (row["status"] == "failed")
    by_id = {row["run_id"]: row for row in rows}
    if finished < 12:
        assert by_id[plan.cells[0].cell_id]["status_reason"] == "first line second, with a comma"


def test_columns_of_older_results_are_kept(store: Store, plan: Plan) -> None:
    """Truth: results that were written with one more column, and with one less, stand in one table."""
    for cell in plan.cells:
        finish(store, cell)
    path = store.cell(plan.cells[0].cell_id).path / "result.json"
    older = json.loads(path.read_text())
    del older["lr"]
    path.write_text(json.dumps(older | {"gone_since": 7, "gone_too": 8}))
    rows = parsed(to_csv(table_rows(plan, store)))
    assert {row["gone_since"] for row in rows} == {"7", ""}
    assert [row["lr"] == "" for row in rows].count(True) == 1


@settings(deadline=None)
@given(st.floats(min_value=1e-300, max_value=1e300))
def test_numbers_survive_the_table_to_the_last_bit(loss: float) -> None:
    """Truth: the number itself."""
    assert float(parsed(to_csv([{"budget": 1e9, "loss": loss, "status": "finished"}]))[0]["loss"]) == loss


def test_failed_runs_are_set_aside_with_their_reason(store: Store, plan: Plan, tmp_path: Path) -> None:
    """Truth: the fit's own reader of the table."""
    lost, *rest = plan.cells
    for cell in rest:
        finish(store, cell)
    store.cell(lost.cell_id).write_failure("the loss is nan")
    table = tmp_path / "runs.csv"
    table.write_text(to_csv(table_rows(plan, store)))
    runs = load_runs(table)
    assert len(runs) == len(rest)
    assert [(item.run_id, "the loss is nan" in item.reason) for item in runs.set_aside] == [
        (lost.cell_id, True)
    ]


def test_a_sweep_that_obeys_a_law_finds_it(
    store: Store, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: N*(C) = 1e-2·C^0.55, which the losses are made of."""
    for cell in plan.cells:
        finish(store, cell)
    assert conclude(config_of(*SWEEP, f"store={tmp_path}"), plan, store, wall_s=61) is True
    folder = tmp_path / "isoflop_tiny"
    law = json.loads((folder / "fit.json").read_text())["laws"]["params"]
    assert law["exponent"] == pytest.approx(0.55, abs=1e-6)
    assert law["coefficient"] == pytest.approx(1e-2, rel=1e-4)
    out = capsys.readouterr().out
    assert (folder / "summary.txt").read_text().strip() in out
    assert "1m01s for this run, 18s of training in all cells" in out


def test_a_report_that_no_longer_holds_is_taken_away(
    store: Store, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: without a fit, no file of an earlier fit is left to be taken for this one's."""
    config = config_of(*SWEEP, f"store={tmp_path}")
    for cell in plan.cells:
        finish(store, cell)
    assert conclude(config, plan, store, wall_s=1)
    capsys.readouterr()
    for cell in plan.cells:
        finish(store, cell, loss=2.0 - cell.params * 1e-9)  # the larger the better: no minimum inside
    assert conclude(config, plan, store, wall_s=1) is False
    left = {path.name for path in (tmp_path / "isoflop_tiny").iterdir()}
    assert left == {"runs.csv", "sweep.json"}
    out = capsys.readouterr().out
    assert "no fit:" in out
    assert f"files: {tmp_path / 'isoflop_tiny' / 'runs.csv'}\n" in out


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["budget=1e9"], "give sweep=NAME"),
        (["sweep=isoflop_tiny", "cell=0123456789ab"], "cell=0123456789ab is for one cell"),
    ],
)
def test_what_is_no_sweep_is_refused(overrides: list[str], said: str) -> None:
    """Truth: one sentence before anything is planned or launched."""

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        raise AssertionError("launched")

    with pytest.raises(UserError, match=said):
        run_sweep(config_of(*overrides), launch)
