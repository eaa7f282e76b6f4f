"""Launching: what is trained, what is tried again, and who is to blame when a worker dies."""

from __future__ import annotations

import errno
import math
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs import launching, places
from scaling_runs.cell import Cell
from scaling_runs.conclusion import table_rows
from scaling_runs.errors import RankFailed, RankLost, StoreLost, WorkersDied
from scaling_runs.launching import MAX_CANCELLED, MAX_IDLE_DEATHS, await_others, job_of, train_all
from scaling_runs.plan import Plan
from scaling_runs.store import CellBusy, Store
from scaling_runs.sweeper import run_sweep
from tests.configs import config_of
from tests.scaling_runs.conftest import filled


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
    """Truth: nothing is written into its folder; its row says why it has no loss, while the other holds its lock."""
    busy, *rest = plan.cells
    store.cell(busy.cell_id).begin_attempt()

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        for cell in rest:
            finish(store, cell)
        return [CellBusy("busy") if cell_id == busy.cell_id else None for cell_id in cell_ids]

    train_all(store, plan.cells, launch)
    assert store.cell(busy.cell_id).failure() is None
    for held, reason in ((True, "it is being trained by process "), (False, "it was not trained")):
        with store.cell(busy.cell_id).lock() if held else nullcontext():
            row = next(row for row in table_rows(plan, store) if row["run_id"] == busy.cell_id)
        assert row["status"] == "failed"
        assert row["status_reason"].startswith(reason)


def test_a_cell_that_another_process_trains_is_waited_for_and_what_it_leaves_is_known(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: the locks that this process holds: the first cell is finished when it lets go, the second has failed, the
    third is left as it was."""
    monkeypatch.setattr(launching, "LOOK_EVERY_S", 0.02)
    cells = plan.cells[:3]
    folders = [store.cell(cell.cell_id) for cell in cells]
    held = ExitStack()
    for folder in folders:
        folder.begin_attempt()
        held.enter_context(folder.lock())

    def let_go() -> None:
        finish(store, cells[0])
        folders[1].write_failure("diverged")
        held.close()

    threading.Timer(0.3, let_go).start()
    assert await_others(store, cells) == [cells[2]]
    told = capsys.readouterr().out.splitlines()
    assert sorted(told) == sorted(
        f"waiting for cell {cell.cell_id}, which is being trained by {folder.holder()}"
        for cell, folder in zip(cells, folders, strict=True)
    )


def test_what_an_earlier_kill_left_begun_is_not_in_the_works(store: Store, plan: Plan) -> None:
    """Truth: a launcher that dies before it begins a cell is no cell's fault, whatever an earlier run left behind."""
    for cell in plan.cells:
        store.cell(cell.cell_id).begin_attempt()

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        raise OSError("no queue answers")

    with pytest.raises(UserError, match="no queue answers"):
        train_all(store, plan.cells, launch)
    assert [store.cell(cell.cell_id).failure() for cell in plan.cells] == [None] * len(plan.cells)


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


def test_a_cell_that_comes_along_from_death_to_death_is_not_blamed(store: Store, plan: Plan) -> None:
    """Truth: a cell that is ended eight times, after a new checkpoint each third time; and one that has none."""
    slow, stuck = plan.cells[:2]
    launched = Counter[str]()

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        for cell_id in cell_ids:
            launched[cell_id] += 1
            folder = store.cell(cell_id)
            folder.begin_attempt()
            if cell_id == slow.cell_id:
                if launched[cell_id] > 8:
                    finish(store, slow)
                    continue
                if launched[cell_id] % 3 == 0:
                    folder.checkpoint.write_text(str(launched[cell_id]))
            raise RuntimeError("Slurm has ended the job")
        return [None] * len(cell_ids)

    train_all(store, [slow, stuck], launch)
    assert statuses(store, [slow, stuck]) == ["finished", "failed"]
    assert launched[slow.cell_id] == 9


@pytest.mark.parametrize("lack", ["room", "answer"])
def test_a_death_where_the_store_is_full_or_away_is_no_cells_and_ends_the_sweep(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    """Truth: the statuses: no cell is blamed, and none launched again. What ended a job, it could not write down."""
    launched: list[Sequence[str]] = []

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        launched.append(cell_ids)
        for cell_id in cell_ids:
            store.cell(cell_id).begin_attempt()
        raise RuntimeError("Slurm has ended the job (FAILED)")

    if lack == "room":
        monkeypatch.setattr(places.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
        said = rf"store '{store.root}' has room for 0 MB, and a checkpoint takes \d+; make room and run"
    else:
        gone = OSError(errno.EIO, "Input/output error")
        monkeypatch.setattr(places, "_probe", lambda root: (_ for _ in ()).throw(gone))
        said = rf"store '{store.root}' can't be written to \(Input/output error\); run the same command"
    with pytest.raises(StoreLost, match=said):
        train_all(store, plan.cells, launch)
    assert len(launched) == 1
    assert set(statuses(store, plan.cells)) == {"running"}


def test_a_cell_that_is_ended_from_outside_is_no_failure_and_is_not_tried_for_ever(
    store: Store, plan: Plan
) -> None:
    """Truth: the launches, as many as the constant says since the last checkpoint, and the status."""
    cell = plan.cells[0]
    folder, launched = store.cell(cell.cell_id), [0]

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        launched[0] += 1
        folder.begin_attempt()
        if launched[0] == 3:
            folder.checkpoint.write_text("come along")
        raise WorkersDied("Slurm has ended 1 job before 1 cell: 7_0 CANCELLED", [cell.cell_id])

    with pytest.raises(
        UserError, match=r"was ended from outside 8 times in a row .*7_0 CANCELLED\); see who"
    ):
        train_all(store, [cell], launch)
    assert launched == [3 + MAX_CANCELLED]
    assert folder.failure() is None


def test_a_launcher_that_cannot_even_begin_is_not_asked_for_ever(store: Store, plan: Plan) -> None:
    """Truth: its own words, after as many tries as the constant says; no cell is blamed."""
    tries = []

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        tries.append(cell_ids)
        raise OSError("no queue answers")

    with pytest.raises(
        UserError, match=r"workers end before .*, 2 times in a row \(no queue answers\); mend"
    ):
        train_all(store, plan.cells, launch)
    assert len(tries) == MAX_IDLE_DEATHS
    assert set(statuses(store, plan.cells)) == {"waiting"}


def test_deaths_in_which_no_cell_begins_are_counted_in_a_row(store: Store, plan: Plan) -> None:
    """Truth: every launch but the last loses a worker before it begins, and ends a cell with another."""
    left = list(plan.cells)

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        finish(store, left.pop())
        if left:
            raise RuntimeError("Slurm has ended the job (CANCELLED)")
        return [None] * len(cell_ids)

    train_all(store, plan.cells, launch)
    assert set(statuses(store, plan.cells)) == {"finished"}


def test_ranks_that_have_lost_one_begin_no_other_cell(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the launches. Ranks train a cell at a time, and what a second one would wait for is gone."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    launched: list[Sequence[str]] = []

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        launched.append(cell_ids)
        if len(launched) == 2:
            return [RankFailed(1, cell_ids[0], OSError("no space left on device"))]
        finish(store, plan.cells[0])
        return [None]

    with pytest.raises(
        RankLost, match=r"rank 1 has failed in cell \w+, .* \(OSError: no space left on device\)"
    ):
        train_all(store, plan.cells, launch)
    assert launched == [[cell.cell_id] for cell in plan.cells[:2]]
    assert statuses(store, plan.cells)[1:] == ["waiting"] * (len(plan.cells) - 1)


def test_an_interruption_is_no_workers_death(store: Store, plan: Plan) -> None:
    """Truth: Ctrl-C ends the sweep at once."""

    def launch(cell_ids: Sequence[str]) -> list[BaseException | None]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all(store, plan.cells, launch)
    assert set(statuses(store, plan.cells)) == {"waiting"}


@pytest.mark.parametrize("cell_id", ["582416563e73", "001234567890", "7ffab839466c"])
def test_an_id_that_reads_as_a_number_reaches_the_worker_as_it_is(cell_id: str) -> None:
    """Truth: the id itself. One hash in 140 has digits only, or digits about one e."""
    config = config_of(*job_of(["val_tokens=1024"], cell_id))
    assert (config.cell, config.val_tokens) == (cell_id, 1024)


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
