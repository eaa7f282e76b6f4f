"""What `python -m scaling_runs status` says of Slurm's jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_runs.places import place
from scaling_runs.slurm.record import Array, logs_of, write_arrays
from scaling_runs.slurm.standing import slurm_lines
from tests.scaling_runs.slurm.conftest import Notes

CELLS = (("a",), ("b", "c"), ("d",), ("e",))
OPEN = {cell_id: f"cell {cell_id}" for cell_id in "abcde"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a sweep with an array of four jobs, and one that sbatch never answered for."""
    arrays = [Array("x", CELLS, None, (), 0.0, job_id=7), Array("y", (("a",),), None, (), 0.0)]
    write_arrays(tmp_path / "sweep", arrays)
    return tmp_path / "sweep"


def test_jobs_are_counted_by_state_with_slurms_own_reasons(folder: Path, notes: Notes) -> None:
    """Truth: the queue; another sweep's job does not count."""
    notes.hold(
        [
            "7|0|RUNNING|None",
            "7|1|PENDING|Priority",
            "7|2|PENDING|Resources",
            "7|3|PENDING|Priority",
            "9|0|RUNNING|None",
        ]
    )
    assert slurm_lines(folder, OPEN) == ["  Slurm: 1 job running, 3 pending (2 Priority, 1 Resources)"]


def test_a_job_that_is_over_is_told_with_its_state_and_what_it_left(folder: Path, notes: Notes) -> None:
    """Truth: a queue that still knows them: one out of memory, one out of time whose cells are all done."""
    notes.hold(["7|0|TIMEOUT|None", "7|1|OUT_OF_MEMORY|None", "7|2|COMPLETING|None", "7|3|PENDING|"])
    still_open = {cell_id: OPEN[cell_id] for cell_id in "bcde"}
    first, left, last = slurm_lines(folder, still_open)
    assert first == "  Slurm: 0 jobs running, 1 pending (1 no reason yet), 1 completing"
    assert left == f"  job 7_1 ended: OUT_OF_MEMORY; left cell b; cell c; log {folder}/logs/7_1.log"
    assert last == "  the same launch.py command submits what they left"


def test_what_the_queue_has_forgotten_is_asked_of_the_accounting(folder: Path, notes: Notes) -> None:
    """Truth: sacct's rows, in which it names who cancelled a job, and writes those that never began as one; a job of
    whose end it knows nothing is gone."""
    notes.account(["7_0|NODE_FAIL", "7_1|CANCELLED by 0", "7_[2]|PENDING", "7_[3,6-10:2%3]|CANCELLED by 0"])
    told = slurm_lines(folder, OPEN)
    assert told[0] == "  Slurm: 0 jobs running, 0 pending"
    assert [line.partition("; left")[0] for line in told[1:-1]] == [
        "  job 7_0 ended: NODE_FAIL",
        "  job 7_1 ended: CANCELLED",
        "  job 7_2 gone, and Slurm no longer says how",
        "  job 7_3 ended: CANCELLED",
    ]


def test_without_accounting_a_job_that_is_forgotten_is_gone(folder: Path, notes: Notes) -> None:
    """Truth: a sacct that fails, as it does where a cluster keeps no accounts."""
    (gone,) = slurm_lines(folder, {"a": "cell a"})[1:-1]
    assert gone == f"  job 7_0 gone, and Slurm no longer says how; left cell a; log {folder}/logs/7_0.log"


def test_a_machine_without_slurm_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: a PATH without squeue. A sweep that was never on Slurm says nothing of it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm_lines(folder, OPEN) == ["  Slurm was not asked: this machine has no squeue"]
    assert slurm_lines(tmp_path / "another", OPEN) == []


def test_logs_lie_in_a_folder_where_the_store_is_a_url() -> None:
    """Truth: Slurm itself opens a job's log."""
    pytest.importorskip("upath", reason="universal_pathlib is optional")
    assert logs_of(place("memory://bucket/results/sweep")) == Path("results/sweep/logs")
    assert logs_of(Path("/shared/results/sweep")) == Path("/shared/results/sweep/logs")
