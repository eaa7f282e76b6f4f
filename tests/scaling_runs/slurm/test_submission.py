"""Which jobs are submitted: each cell once, whatever happens in between."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from fit.errors import UserError
from scaling_runs.locks import holding
from scaling_runs.plan import Plan
from scaling_runs.slurm import submission
from scaling_runs.slurm.queue import NoAnswer
from scaling_runs.slurm.record import Job, read_arrays, write_arrays
from scaling_runs.slurm.submission import Submitter
from scaling_runs.store import Store
from scaling_runs.sweep_record import write_plan
from tests.scaling_runs.slurm.conftest import PLAIN, Notes

MINUTES = (4, 8, 16, 32)
"""Of a quarter of the cells each, so that there are four arrays."""


@pytest.fixture
def submitter(store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Submitter:
    """Of cells that take 18 seconds to 13 minutes, with little patience."""
    seconds = {cell.cell_id: 27.0 * MINUTES[i % 4] - 90 for i, cell in enumerate(plan.cells)}
    write_plan(store.sweep_folder(plan.name), plan.cells, seconds)
    monkeypatch.setattr(submission, "ANSWERS_WITHIN_S", 0.3)
    monkeypatch.setattr(submission, "LOOK_EVERY_S", 0.05)
    return Submitter(store, plan.name, PLAIN, threads=1)


def commands(plan: Plan) -> dict[str, list[str]]:
    return {cell.cell_id: ["python", "launch.py", cell.cell_id] for cell in plan.cells}


def submitted(notes: Notes) -> list[str]:
    """Of each cell that a script trains, its id, in the order of the scripts."""
    return [cell_id for text in notes.scripts for cell_id in re.findall(r"launch\.py (\w+)$", text, re.M)]


def cells_of(jobs: list[Job]) -> list[str]:
    return sorted(cell_id for job in jobs for cell_id in job.cells)


def killed(submitter: Submitter, plan: Plan) -> bool:
    """Whether a process of its own that submits the cells is killed in the midst of that."""
    process = os.fork()
    if process == 0:
        try:
            submitter.jobs_of(commands(plan))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def test_every_cell_is_in_one_job_and_jobs_of_one_time_are_one_array(
    submitter: Submitter, plan: Plan, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: the cells of the plan, and the four times that they were given."""
    jobs = submitter.jobs_of(commands(plan))
    assert cells_of(jobs) == sorted(submitted(notes)) == sorted(commands(plan))
    asked = [int(re.findall(r"--time=(\d+)", text)[0]) for text in notes.scripts]
    assert sorted(asked) == sorted(MINUTES)
    assert capsys.readouterr().out.count("Slurm array") == 4


def test_what_a_job_has_is_not_submitted_again_and_what_a_job_left_is(
    submitter: Submitter, plan: Plan, notes: Notes
) -> None:
    """Truth: a queue that holds the second array alone."""
    submitter.jobs_of(commands(plan))
    second = read_arrays(submitter.folder)[1]
    notes.hold([f"2|{number}|RUNNING|None" for number in range(len(second.cells))] + ["1|0|TIMEOUT|None"])
    before = submitted(notes)
    jobs = submitter.jobs_of(commands(plan))
    again = submitted(notes)[len(before) :]
    living = {cell_id for cells in second.cells for cell_id in cells}
    assert sorted(again) == sorted(set(before) - living)
    assert cells_of(jobs) == sorted(commands(plan))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("array", [1, 3])
def test_a_process_that_is_killed_while_it_submits_never_submits_twice(
    submitter: Submitter, plan: Plan, notes: Notes, moment: str, array: int
) -> None:
    """Truth: each cell in one script, where the process was killed before Slurm had an array or told its number."""
    notes.do(f"kill-{moment}-{array}")
    assert killed(submitter, plan)
    assert len(notes.scripts) == array - (moment == "before")
    assert cells_of(submitter.jobs_of(commands(plan))) == sorted(commands(plan))
    assert sorted(submitted(notes)) == sorted(commands(plan))


def test_what_slurm_refuses_leaves_no_trace(submitter: Submitter, plan: Plan, notes: Notes) -> None:
    """Truth: the record; and Slurm's own words in the sentence."""
    notes.do("refuse")
    with pytest.raises(UserError, match=r"Slurm refuses the jobs: invalid partition specified: nowhere"):
        submitter.jobs_of(commands(plan))
    assert read_arrays(submitter.folder) == []


WORDS = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


@pytest.mark.parametrize("there", [True, False])
def test_an_array_whose_submission_timed_out_in_slurm_is_found_by_its_name_or_kept_in_mind(
    submitter: Submitter, plan: Plan, notes: Notes, there: bool
) -> None:
    """Truth: each cell in one script, whether Slurm has the array or not of which sbatch says that it heard nothing."""
    sbatch = notes.folder / "bin" / "sbatch"
    works = sbatch.read_text()
    sbatch.write_text(
        f"#!/bin/sh\n{'cat > /dev/null' if not there else works.replace('echo $id', '')}\necho '{WORDS}' >&2; exit 1\n"
    )
    if there:
        assert cells_of(submitter.jobs_of(commands(plan))) == sorted(commands(plan))
    else:
        with pytest.raises(
            NoAnswer, match=r"sbatch does not say whether it was done: Batch .* timed out .*; run the"
        ):
            submitter.jobs_of(commands(plan))
        assert [array.job_id for array in read_arrays(submitter.folder)] == [None]
    sbatch.write_text(works)
    assert cells_of(submitter.jobs_of(commands(plan))) == sorted(commands(plan))
    assert sorted(submitted(notes)) == sorted(commands(plan))


def limits(notes: Notes) -> list[tuple[int, str]]:
    """Of each script, its jobs at once, and what it waits for."""
    return [
        (int(re.findall(r"--array=\S+%(\d+)", text)[0]), "".join(re.findall(r"--dependency=(\S+)", text)))
        for text in notes.scripts
    ]


def test_arrays_share_the_limit_of_jobs_at_once(submitter: Submitter, plan: Plan, notes: Notes) -> None:
    """Truth: the sum of what may run together, with more and with fewer jobs at once than there are arrays."""
    dataclasses.replace(submitter, options=dataclasses.replace(PLAIN, at_once=6)).jobs_of(commands(plan))
    assert sum(limit for limit, _ in limits(notes)) == 6
    assert {after for _, after in limits(notes)} == {""}


def test_with_fewer_jobs_at_once_than_arrays_some_wait_for_others(
    submitter: Submitter, plan: Plan, notes: Notes
) -> None:
    """Truth: one job at once is one array after another."""
    dataclasses.replace(submitter, options=dataclasses.replace(PLAIN, at_once=1)).jobs_of(commands(plan))
    assert limits(notes) == [(1, ""), (1, "afterany:1"), (1, "afterany:2"), (1, "afterany:3")]


def test_arrays_of_an_earlier_run_keep_their_share_of_the_limit(
    submitter: Submitter, plan: Plan, notes: Notes
) -> None:
    """Truth: four arrays of one job at once each; where the limit is five, one is left for what is submitted anew, and
    where it is four, none."""
    limited = dataclasses.replace(submitter, options=dataclasses.replace(PLAIN, at_once=4))
    limited.jobs_of(commands(plan))
    rest = [f"{array}|{number}|RUNNING|None" for array, number in ((1, 0), (2, 0), (3, 0), (4, 0))]
    notes.hold(rest)
    by_five = dataclasses.replace(submitter, options=dataclasses.replace(PLAIN, at_once=5))
    missing = [cell for array in read_arrays(limited.folder) for cells in array.cells[1:] for cell in cells]
    some = {cell_id: commands(plan)[cell_id] for cell_id in missing[:1]}
    by_five.jobs_of(some)
    assert limits(notes)[4:] == [(1, "")]
    notes.hold(rest)
    limited.jobs_of({cell_id: commands(plan)[cell_id] for cell_id in missing[1:2]})
    assert limits(notes)[5:] == [(1, "afterany:1:2:3:4")]
    notes.hold(["4|0|RUNNING|None", "6|0|PENDING|Dependency"])
    limited.jobs_of({cell_id: commands(plan)[cell_id] for cell_id in missing[2:3]})
    assert limits(notes)[6:] == [
        (1, "afterany:4:6")
    ]  # three are free, until the sixth begins, which has them all


def test_what_is_handed_on_is_written_down_before_slurm_has_it_and_taken_back_where_it_refuses(
    submitter: Submitter, plan: Plan, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the record at the moment when Slurm is asked, and after its answer: a process that is killed in between
    lets too few run, never too many."""
    limited = dataclasses.replace(submitter, options=dataclasses.replace(PLAIN, at_once=4))
    limited.jobs_of(commands(plan))
    notes.hold([f"4|{number}|PENDING|Priority" for number in range(3)])
    recorded: list[int | None] = []

    def asked(array: int, jobs: int) -> None:
        recorded.append(read_arrays(limited.folder)[3].at_once)
        if len(recorded) == 1:
            raise UserError("Slurm does not let array 4 run 3 jobs at once")

    monkeypatch.setattr(submission, "allow_at_once", asked)
    with pytest.raises(UserError):
        limited.hand_on()
    assert [array.at_once for array in read_arrays(limited.folder)] == [1, 1, 1, 1]
    assert limited.hand_on()
    assert [array.at_once for array in read_arrays(limited.folder)] == [1, 1, 1, 3]
    assert recorded == [3, 3]


def test_nothing_is_handed_on_while_another_has_the_record_and_an_array_without_a_number_is_asked_for(
    submitter: Submitter, plan: Plan, notes: Notes
) -> None:
    """Truth: the record, the answer, which says whether to try again, and the number that Slurm's queue has."""
    limited = dataclasses.replace(submitter, options=dataclasses.replace(PLAIN, at_once=4))
    limited.jobs_of(commands(plan))
    notes.hold([f"4|{number}|PENDING|Priority" for number in range(3)])
    arrays = read_arrays(limited.folder)
    with holding(limited.folder / ".slurm.lock"):
        assert not limited.hand_on()
    assert [array.at_once for array in read_arrays(limited.folder)] == [1, 1, 1, 1]
    (notes.folder / "bin" / "scontrol").write_text("#!/bin/sh\n")
    write_arrays(limited.folder, [*arrays[:3], dataclasses.replace(arrays[3], job_id=None)])
    assert limited.hand_on()
    assert [array.at_once for array in read_arrays(limited.folder)] == [1, 1, 1, 3]
    assert read_arrays(limited.folder)[3].job_id == 4


def test_an_array_has_no_more_jobs_than_the_scheduler_takes(
    submitter: Submitter, plan: Plan, notes: Notes
) -> None:
    """Truth: the scripts, where `max_array_tasks` is below MaxArraySize."""
    scontrol = notes.folder / "bin" / "scontrol"
    scontrol.write_text(
        scontrol.read_text() + "echo 'SchedulerParameters = bf_window=10,max_array_tasks=2,defer'\n"
    )
    submitter.jobs_of(commands(plan))
    assert {int(last) for text in notes.scripts for last in re.findall(r"--array=0-(\d+)", text)} <= {0, 1}
    assert sorted(submitted(notes)) == sorted(commands(plan))


def test_ranks_that_do_not_divide_a_batch_are_refused_before_anything_is_submitted(
    submitter: Submitter, plan: Plan, notes: Notes
) -> None:
    """Truth: batches of 12 sequences (768 tokens of windows of 64), and seven ranks."""
    seven = dataclasses.replace(submitter, options=dataclasses.replace(PLAIN, gpus=7))
    with pytest.raises(UserError, match=r"hydra\.launcher\.gpus is 7, and a batch of 12 sequences"):
        seven.jobs_of(commands(plan))
    assert not notes.scripts


def test_a_record_is_read_as_it_was_written(submitter: Submitter, plan: Plan, notes: Notes) -> None:
    """Truth: what the submission itself returned."""
    jobs = submitter.jobs_of(commands(plan))
    assert [job for array in read_arrays(submitter.folder) for job in array.jobs] == jobs
    assert Path(submitter.folder / "arrays.json").exists()
