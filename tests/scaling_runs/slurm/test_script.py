"""What a job asks for, and the shell that runs its cells: by bash itself, with a scontrol that only takes notes."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs.slurm.options import SlurmOptions, header, minutes_for
from scaling_runs.slurm.script import script
from scaling_runs.stopping import EXIT_CODE

PLAIN = SlurmOptions(None, None, None, 0, None, None, 1440, (), ())


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=5), st.integers(1, 1000))
def test_a_job_asks_for_its_cells_time_twice_and_their_starts_but_for_no_more_than_it_may(
    seconds: list[float], most: int
) -> None:
    """Truth: two minutes a start, twice the estimates, and the minute in which it is told to end."""
    minutes = minutes_for(seconds, dataclasses.replace(PLAIN, max_minutes=most))
    wanted_s = 120 * len(seconds) + 2 * sum(seconds) + 60
    assert minutes == most or 60 * (minutes - 1) <= wanted_s <= 60 * minutes
    assert minutes <= most


def test_a_header_holds_what_was_asked_for_and_nothing_else() -> None:
    """Truth: sbatch's own names."""
    full = SlurmOptions("p", "a", "q", 2, 64, 8, 60, ("--constraint=a100",), ())
    lines = header("name", "log", jobs=3, minutes=60, threads=4, options=full)
    for line in (
        "--array=0-2%8",
        "--time=60",
        "--cpus-per-task=8",
        "--gpus-per-node=2",
        "--mem=64G",
        "--partition=p",
        "--account=a",
        "--qos=q",
        "--signal=B:USR2@60",
        "--requeue",
        "--constraint=a100",
    ):
        assert f"#SBATCH {line}" in lines
    plain = "\n".join(header("name", "log", jobs=1, minutes=1, threads=1, options=PLAIN))
    assert not any(name in plain for name in ("gpus", "mem", "partition", "account", "qos", "%"))
    assert "--signal=B:USR2@30" in plain


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpus": -1}, "gpus is -1"),
        ({"at_once": 0}, "at_once is 0"),
        ({"memory_gb": 0}, "memory_gb is 0"),
        ({"max_minutes": 0}, "max_minutes is 0"),
        ({"flags": ("constraint=a100",)}, "flags holds 'constraint=a100'"),
    ],
)
def test_options_that_no_job_can_have_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        dataclasses.replace(PLAIN, **changes)  # type: ignore[arg-type]


def run(tmp_path: Path, commands: list[list[str]], tell_after_s: float | None = None) -> tuple[int, str]:
    """(exit code, what was noted): the job of an array's place 1, told to end after a while."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "scontrol $*" >> {tmp_path}/notes\nexit 1\n')
    scontrol.chmod(0o755)
    text = script("name", "log", [[["false"]], commands], 10, 1, PLAIN)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "1",
    }
    job = subprocess.Popen(
        ["bash", "-c", text], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    if tell_after_s is not None:
        until = time.monotonic() + 20
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        os.kill(job.pid, signal.SIGUSR2)
    code = job.wait(30)
    notes = tmp_path / "notes"
    return code, notes.read_text() if notes.exists() else ""


def note(tmp_path: Path, word: str) -> list[str]:
    return ["sh", "-c", f"echo {word} >> {tmp_path}/notes"]


def test_cells_are_trained_one_after_another_and_one_that_fails_holds_up_none(tmp_path: Path) -> None:
    """Truth: the notes of three commands; the job ends with the code of the one that failed."""
    commands = [note(tmp_path, "one"), ["sh", "-c", "exit 2"], note(tmp_path, "three")]
    assert run(tmp_path, commands) == (2, "one\nthree\n")


def test_a_job_that_is_told_to_end_tells_its_cell_and_goes_back_into_the_queue(tmp_path: Path) -> None:
    """Truth: a cell in Python that ends as a training one does; the cell after it is not begun."""
    cell = (
        "import pathlib, signal, sys, time\n"
        f"notes = pathlib.Path({str(tmp_path / 'notes')!r})\n"
        "def end(*_):\n"
        f"    notes.write_text('saved\\n'); sys.exit({EXIT_CODE})\n"
        "signal.signal(signal.SIGUSR2, end)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(20)\n"
    )
    commands = [[sys.executable, "-c", cell], note(tmp_path, "second")]
    assert run(tmp_path, commands, tell_after_s=0) == (0, "saved\nscontrol requeue 7_1\n")
