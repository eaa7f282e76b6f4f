"""Jobs that Slurm will never begin are told, while they are waited for and by `status`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fit.errors import UserError
from scaling_runs.slurm import cells
from scaling_runs.slurm.queue import QueuedJob
from scaling_runs.slurm.record import Array, Job, write_arrays
from scaling_runs.slurm.standing import slurm_lines
from scaling_runs.slurm.stuck import stuck_lines
from tests.scaling_runs.slurm.conftest import Notes

STAY = (
    "AccountNotAllowed",
    "AssocMaxWallDurationPerJobLimit",
    "BadConstraints",
    "DependencyNeverSatisfied",
    "InvalidQOS",
    "JobHeldUser",
    "MaxMemPerLimit",
    "PartitionConfig",
    "PartitionTimeLimit",
    "QOSMaxCpuPerJobLimit",
    "QOSMaxGRESPerNode",
    "QOSMinGRES",
)
PASS = (
    "AssocGrpCpuLimit",
    "AssocMaxJobsLimit",
    "BeginTime",
    "Dependency",
    "JobArrayTaskLimit",
    "None",
    "Priority",
    "QOSGrpGRES",
    "QOSMaxCpuPerUserLimit",
    "QOSMaxJobsPerUserLimit",
    "ReqNodeNotAvail, UnavailableNodes:n1",
    "Resources",
)


@pytest.mark.parametrize(("reasons", "stay"), [(STAY, True), (PASS, False)])
def test_reasons_are_told_apart_by_whether_time_mends_them(reasons: tuple[str, ...], stay: bool) -> None:
    """Truth: Slurm's documentation of its reasons."""
    for reason in reasons:
        assert bool(stuck_lines([(7, 0)], {(7, 0): QueuedJob("PENDING", reason)})) is stay, reason
        assert not stuck_lines([(7, 0)], {(7, 0): QueuedJob("RUNNING", reason)})


def test_jobs_of_one_reason_are_told_together(notes: Notes, tmp_path: Path) -> None:
    """Truth: a queue of four such jobs in two arrays, and one that waits its turn."""
    write_arrays(tmp_path, [Array(name, (("a",),) * 3, None, (), 0.0, job_id=int(name)) for name in "78"])
    notes.hold(
        [f"{array}|{place}|PENDING|PartitionConfig" for array in (7, 8) for place in (0, 1)]
        + ["7|2|PENDING|Priority"]
    )
    counted, stuck = slurm_lines(tmp_path, {})
    assert counted.endswith("5 pending (4 PartitionConfig, 1 Priority)")
    assert stuck.startswith(
        "  4 jobs (7_0, 7_1, 8_0, …) stay pending for PartitionConfig, which no waiting mends; scancel 7 8, and start"
    )


def test_whoever_waits_is_told_once(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: a queue that holds a job so at three looks, and another sweep's, which is not waited for."""
    looks = iter(["PENDING|PartitionConfig"] * 2 + ["CANCELLED|None"])

    def sleep(seconds: float) -> None:
        notes.hold([f"7|0|{next(looks)}"])

    notes.hold(["7|0|PENDING|Priority", "7|1|PENDING|BadConstraints"])
    monkeypatch.setattr(cells, "time", SimpleNamespace(sleep=sleep))  # other threads sleep as they did
    cells._wait([Job(7, 0, ("a",))], lambda: True)
    assert next(looks, None) is None
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert told.startswith(
        "warning: 1 job (7_0) stays pending for PartitionConfig, which no waiting mends; scancel 7"
    )


def test_a_slurm_that_does_not_answer_for_a_while_ends_no_waiting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: a controller that is away at two looks, then one that no longer has the job."""
    answers = iter([UserError("Slurm does not say"), UserError("Slurm does not say"), {}])

    def ask(arrays: object) -> dict[tuple[int, int], QueuedJob]:
        answer = next(answers)
        if isinstance(answer, UserError):
            raise answer
        return answer

    monkeypatch.setattr(cells, "jobs_of", ask)
    monkeypatch.setattr(cells, "ASK_AGAIN_S", 0.0)
    cells._wait([Job(7, 0, ("a",))], lambda: True)
    assert capsys.readouterr().out == "warning: Slurm does not say; it is asked again for up to 60 minutes\n"


def test_who_shares_out_is_asked_at_first_and_as_arrays_end_until_it_is_done_and_a_refusal_ends_no_waiting(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: a queue whose first of two arrays ends at the third look, and the other at the sixth; Slurm refuses at the
    first look, and at the third another process has the record."""
    both, one = ["7|0|RUNNING|None", "8|0|RUNNING|None"], ["8|0|RUNNING|None"]
    looks = iter([both, one, one, one, []])
    monkeypatch.setattr(cells, "time", SimpleNamespace(sleep=lambda seconds: notes.hold(next(looks))))
    notes.hold(both)
    answers = iter([False, True, False, True])
    seen: list[int] = []

    def hand_on() -> bool:
        seen.append(len((notes.folder / "queue").read_text().splitlines()))
        if len(seen) == 1:
            next(answers)
            raise UserError("Slurm does not let array 8 run 2 jobs at once")
        return next(answers)

    cells._wait([Job(7, 0, ("a",)), Job(8, 0, ("b",))], hand_on)
    assert seen == [2, 2, 1, 1]
    assert capsys.readouterr().out == "warning: Slurm does not let array 8 run 2 jobs at once\n"
