"""What is submitted, and what Slurm makes of it: on a real one, with commands of a second in the place of cells."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from scaling_runs.slurm.options import SlurmOptions
from scaling_runs.slurm.queue import ends_of, submit
from scaling_runs.slurm.record import read_arrays
from scaling_runs.slurm.submission import Submitter
from scaling_runs.status import status_of
from scaling_runs.sweep_record import write_plan
from tests.cluster.slurm import jobs, slurm
from tests.configs import plan_of
from tests.launching import PATIENCE_S
from tests.scaling_runs.conftest import filled

OPTIONS = SlurmOptions(None, None, None, None, 8, None, None, None, 1440, (), ())


@pytest.fixture
def submitter(tmp_path: Path, cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Submitter:
    """Of four cells, of which two take so long that they are an array of their own."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    cells = plan_of("sweep=isoflop_tiny").cells[:4]
    store = filled(tmp_path, cells)
    write_plan(
        tmp_path / "queue", cells, {cell.cell_id: 18.0 + 108 * (i % 2) for i, cell in enumerate(cells)}
    )
    return Submitter(store, "queue", OPTIONS, threads=1)


def commands(submitter: Submitter, line: str) -> dict[str, list[str]]:
    """The same line of shell for each cell."""
    names = sorted(os.listdir(submitter.store.root / "cells"))
    return {cell_id: ["sh", "-c", line] for cell_id in names}


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.1)


def test_one_job_at_once_is_one_over_all_arrays_also_where_a_job_is_requeued(
    submitter: Submitter, cluster: dict[str, str], tmp_path: Path
) -> None:
    """Truth: Slurm's own states, looked at all the while: two arrays of two jobs on a node of two cores, of which the
    first is requeued while it runs."""
    notes = tmp_path / "notes"
    line = f"echo $SLURM_ARRAY_JOB_ID >> {notes}; sleep 1"
    one_at_once = dataclasses.replace(submitter, options=dataclasses.replace(OPTIONS, at_once=1))
    first, *_, last = one_at_once.jobs_of(commands(submitter, line))
    assert first.array < last.array
    wait_until(notes.exists)
    slurm("scontrol", "requeue", f"{first.array}_{first.number}", cluster=cluster)
    running: list[int] = []

    def over() -> bool:
        states = jobs(cluster)
        running.append(sum(state != "PENDING" for state in states.values()))
        return not states

    wait_until(over)
    assert max(running) == 1
    order = [int(array) for array in notes.read_text().split()]
    assert order == sorted(order)
    assert order.count(last.array) == 2


def test_what_an_array_that_has_ended_had_of_the_limit_is_handed_on(
    submitter: Submitter, cluster: dict[str, str], tmp_path: Path
) -> None:
    """Truth: Slurm's own states: two arrays of two jobs, two at once; when the first array has ended, both jobs of the
    second run together, on a node of two cores."""
    line = f"while [ ! -e {tmp_path}/end-$SLURM_ARRAY_JOB_ID ]; do sleep 0.1; done"
    two_at_once = dataclasses.replace(submitter, options=dataclasses.replace(OPTIONS, at_once=2))
    first, second = sorted({job.array for job in two_at_once.jobs_of(commands(submitter, line))})

    def running(array: int) -> int:
        return sum(
            state == "RUNNING" and name.startswith(f"{array}_") for name, state in jobs(cluster).items()
        )

    wait_until(lambda: (running(first), running(second)) == (1, 1))
    two_at_once.hand_on()
    assert [array.at_once for array in read_arrays(submitter.folder)] == [1, 1]
    (tmp_path / f"end-{first}").touch()
    wait_until(lambda: not any(name.startswith(f"{first}_") for name in jobs(cluster)))
    assert running(second) == 1
    two_at_once.hand_on()
    assert [array.at_once for array in read_arrays(submitter.folder)] == [1, 2]
    wait_until(lambda: running(second) == 2)
    (tmp_path / f"end-{second}").touch()
    wait_until(lambda: not jobs(cluster))


def test_status_says_what_slurm_holds_and_how_what_it_no_longer_holds_has_ended(
    submitter: Submitter, cluster: dict[str, str]
) -> None:
    """Truth: of each array one job fails, however many cores there are, and one is cancelled, without accounting."""
    found = submitter.jobs_of(commands(submitter, "[ $SLURM_ARRAY_TASK_ID = 0 ] && exit 3; sleep 100"))
    failing, others = [job for job in found if job.number == 0], [job for job in found if job.number == 1]
    first = f"{others[0].array}_{others[0].number}"
    wait_until(lambda: jobs(cluster).get(first) == "RUNNING")
    told = status_of("queue", str(submitter.store.root))
    assert re.search(r"\n  Slurm: [12] jobs? running, \d pending", told), told
    slurm("scancel", *(f"{job.array}_{job.number}" for job in others), cluster=cluster)
    wait_until(lambda: not jobs(cluster))
    told = status_of("queue", str(submitter.store.root))
    assert "\n  Slurm: 0 jobs running, 0 pending\n" in told
    for job in failing:
        assert f"\n  job {job.array}_{job.number} ended: FAILED; left " in told
    assert f"\n  job {first} ended: CANCELLED; left " in told
    assert all(f"\n  job {job.array}_{job.number} " in told for job in others), told
    assert "\n  the same launch.py command submits what they left" in told


def test_more_jobs_than_an_array_may_have_are_several(
    tmp_path: Path, cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: Slurm's own limit as nobody has changed it, 1,001 jobs of an array, and what its queue holds then."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    one = plan_of("sweep=isoflop_tiny").cells[0]
    cells = [dataclasses.replace(one, spec=dataclasses.replace(one.spec, seed=seed)) for seed in range(1003)]
    write_plan(tmp_path / "queue", cells, {cell.cell_id: 18.0 for cell in cells})
    held = dataclasses.replace(OPTIONS, flags=("--hold",))
    submitter = Submitter(filled(tmp_path, cells), "queue", held, threads=1)
    found = submitter.jobs_of(commands(submitter, "true"))
    states = jobs(cluster)
    arrays = [job.array for job in found]
    slurm("scancel", *map(str, set(arrays)), cluster=cluster)
    assert sorted(Counter(arrays).values()) == [2, 1001]
    assert set(states) == {f"{job.array}_{job.number}" for job in found}
    assert sorted(cell_id for job in found for cell_id in job.cells) == sorted(c.cell_id for c in cells)
    wait_until(lambda: not jobs(cluster))


def test_what_slurm_has_forgotten_is_told_by_its_accounts(
    accounts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: a real slurmdbd: a job that failed, one that was cancelled as it ran, and an array that never began, of
    more jobs than Slurm lists by itself; what lives has not ended."""
    for name, value in accounts.items():
        monkeypatch.setenv(name, value)
    header = f"#!/bin/sh\n#SBATCH --output={tmp_path}/%A_%a.log\n"
    ran = submit(f"{header}#SBATCH --array=0-2\n[ $SLURM_ARRAY_TASK_ID = 0 ] && exit 3; sleep 300\n")
    held = submit(f"{header}#SBATCH --array=0-99:2%4\n#SBATCH --hold\ntrue\n")
    wait_until(lambda: jobs(accounts).get(f"{ran}_1") == "RUNNING")
    slurm("scancel", f"{ran}_1", str(held), cluster=accounts)
    keys = [(ran, number) for number in range(3)] + [(held, number) for number in range(0, 100, 2)]
    expected = {(ran, 0): "FAILED", (ran, 1): "CANCELLED"} | {
        (held, number): "CANCELLED" for number in range(0, 100, 2)
    }
    wait_until(lambda: ends_of(keys, {}) == expected)


def test_status_says_which_jobs_no_waiting_will_begin(submitter: Submitter, cluster: dict[str, str]) -> None:
    """Truth: jobs that their user holds, which Slurm takes and never begins."""
    held = dataclasses.replace(submitter, options=dataclasses.replace(OPTIONS, flags=("--hold",)))
    arrays = sorted({job.array for job in held.jobs_of(commands(submitter, "sleep 100"))})
    told = status_of("queue", str(submitter.store.root))
    slurm("scancel", *map(str, arrays), cluster=cluster)
    ids = " ".join(map(str, arrays))
    assert (
        f"\n  4 jobs ({arrays[0]}_0, {arrays[0]}_1, {arrays[1]}_0, …) stay pending for JobHeldUser" in told
    ), told
    assert f", which no waiting mends; scancel {ids}, and start" in told
    wait_until(lambda: not jobs(cluster))
