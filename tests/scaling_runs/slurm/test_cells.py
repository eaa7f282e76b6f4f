"""How cells end that jobs of Slurm train, by their folders and by what Slurm says of the jobs."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobStatus

from fit.errors import UserError
from scaling_runs.errors import WorkersDied
from scaling_runs.plan import Plan
from scaling_runs.slurm import cells, submission
from scaling_runs.slurm.cells import SlurmCells
from scaling_runs.slurm.record import Job, read_arrays
from scaling_runs.store import CellBusy, Store
from scaling_runs.sweep_record import write_plan
from tests.configs import config_of
from tests.scaling_runs.slurm.conftest import PLAIN, Notes


@pytest.fixture
def slurm_cells(store: Store, plan: Plan, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> SlurmCells:
    """Of a sweep whose jobs end as soon as they are looked at twice; each trains the cells of a trunk."""
    for module in (cells, submission):
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    made = SlurmCells(PLAIN, config_of("sweep=isoflop_tiny", f"store={store.root}"))
    write_plan(store.sweep_folder("isoflop_tiny"), plan.cells, {cell.cell_id: 60.0 for cell in plan.cells})
    return made


def overrides(plan: Plan) -> list[list[str]]:
    return [["sweep=isoflop_tiny", f"cell='{cell.cell_id}'"] for cell in plan.cells]


def end_all(made: SlurmCells, notes: Notes, state: str) -> None:
    """Once they are submitted, every job is over."""
    while not (arrays := [a for a in read_arrays(made.submitter.folder) if a.job_id is not None]):
        threading.Event().wait(0.02)
    notes.hold([f"{job.array}|{job.number}|{state}|None" for array in arrays for job in array.jobs])


@pytest.mark.parametrize(
    ("state", "told"), [("OUT_OF_MEMORY", False), ("CANCELLED", True), ("PREEMPTED", True)]
)
def test_jobs_that_leave_cells_are_told_with_their_state_and_the_end_of_their_log(
    slurm_cells: SlurmCells, plan: Plan, notes: Notes, state: str, told: bool
) -> None:
    """Truth: a queue in which all are over, the first job's log, and whose fault such an end is."""
    slurm_cells.submitter.logs.mkdir(parents=True)
    (slurm_cells.submitter.logs / "1_0.log").write_text("begun\nslurmstepd: Killed\n\n")
    threading.Thread(target=end_all, args=(slurm_cells, notes, state)).start()
    with pytest.raises(WorkersDied) as died:
        slurm_cells.train(overrides(plan))
    words = str(died.value)
    assert f" before {len(plan.cells)} cells: 1_0 {state}, whose log " in words
    assert "1_0.log ends with 'slurmstepd: Killed'; 1_1 " in words
    assert "1_1.log can't be read" in words
    assert died.value.told_to == ({cell.cell_id for cell in plan.cells} if told else set())


def test_what_a_job_has_finished_is_finished_once_it_is_seen(
    slurm_cells: SlurmCells, plan: Plan, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: results that a folder shows only a while after Slurm says that the jobs are completed."""
    folders = [slurm_cells.store.cell(cell.cell_id) for cell in plan.cells]

    def show() -> None:
        for folder in folders:
            folder.write_result({"loss": 1.0})

    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            show()

    assert slurm_cells._ended(plan.cells[0].cell_id, "FAILED", None, time.monotonic() + 60) is None
    monkeypatch.setattr(cells, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    for cell in plan.cells:
        ended = slurm_cells._ended(cell.cell_id, "COMPLETED", None, time.monotonic() + 60)
        assert ended is not None
        assert ended.status == JobStatus.COMPLETED
    assert len(waited) == 3


def test_a_cell_that_another_process_holds_is_busy_and_has_not_died(
    slurm_cells: SlurmCells, plan: Plan
) -> None:
    """Truth: this process's lock."""
    folder = slurm_cells.store.cell(plan.cells[0].cell_id)
    folder.begin_attempt()
    with folder.lock():
        ended = slurm_cells._ended(plan.cells[0].cell_id, "FAILED", None, 0.0)
    assert ended is not None
    assert isinstance(ended._return_value, CellBusy)


def test_a_slurm_that_no_longer_answers_does_not_undo_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: a queue that can't be asked how the jobs ended, once they have."""

    def silent(arrays: object) -> None:
        raise UserError("Slurm does not say which jobs it has: timed out")

    monkeypatch.setattr(cells, "jobs_of", silent)
    assert cells._ends([Job(7, 0, ("a",))]) == {}
    assert capsys.readouterr().out == "warning: Slurm does not say which jobs it has: timed out\n"
