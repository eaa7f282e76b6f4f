"""What a job asks for, and the shell that runs its cells: by bash itself, with a scontrol that only takes notes."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaling_runs.slurm.resources import Resources
from scaling_runs.slurm.script import Submission, header, script
from scaling_runs.stopping import EXIT_CODE
from tests.scaling_runs.slurm.conftest import PLAIN

ONE_CORE = Resources(nodes=1, gpus=0, memory_gb=None, minutes=10)


def submission(resources: Resources = ONE_CORE, **changes: object) -> Submission:
    """Three jobs of a cell each."""
    jobs = [[["train", str(number)]] for number in range(3)]
    return dataclasses.replace(Submission("name", "log", jobs, resources, None), **changes)  # type: ignore[arg-type]


def test_a_header_holds_what_was_asked_for_and_nothing_else() -> None:
    """Truth: sbatch's own names."""
    options = dataclasses.replace(
        PLAIN, partition="p", account="a", qos="q", gpu_type="a100", flags=("--constraint=fast",)
    )
    asked = submission(Resources(2, 4, 64, 60), at_once=2, after=(7, 8))
    lines = header(asked, threads=3, options=options)
    assert lines == [
        f"#SBATCH {line}"
        for line in (
            "--job-name=name",
            "--output=log",
            "--open-mode=append",
            "--array=0-2%2",
            "--dependency=afterany:7:8",
            "--time=60",
            "--nodes=2",
            "--ntasks-per-node=1",
            "--cpus-per-task=12",
            "--gpus-per-node=a100:4",
            "--mem=64G",
            "--partition=p",
            "--account=a",
            "--qos=q",
            "--signal=B:USR2@60",
            "--requeue",
            "--constraint=fast",
        )
    ]
    plain = "\n".join(header(submission(Resources(1, 0, None, 1, warn_s=30)), threads=1, options=PLAIN))
    assert not any(
        name in plain for name in ("gpus", "mem", "partition", "account", "qos", "%", "dependency")
    )
    assert "--signal=B:USR2@30" in plain


def test_a_folder_whose_name_has_a_space_is_one_value() -> None:
    """Truth: the shell's own reading of the line, which is sbatch's too."""
    lines = header(submission(log="/home/me/my runs/%A_%a.log"), threads=1, options=PLAIN)
    assert ["#SBATCH", "--output=/home/me/my runs/%A_%a.log"] in [
        shlex.split(line, comments=False) for line in lines
    ]


@pytest.mark.parametrize(
    "resources", [ONE_CORE, Resources(1, 1, 8, 60), Resources(1, 8, 8, 60), Resources(2, 8, 8, 60)]
)
def test_a_cell_of_several_ranks_is_started_by_srun_and_any_other_by_itself(resources: Resources) -> None:
    """Truth: one rank, and more than one; bash finds no fault in either."""
    text = script(submission(resources), 1, PLAIN)
    assert ("srun" in text) == (resources.nodes * resources.gpus > 1)
    assert f"    train {'on_ranks ' * (resources.nodes * resources.gpus > 1)}train 2\n" in text
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_each_node_of_a_cell_runs_torchrun_which_meets_the_others_at_the_first_host(tmp_path: Path) -> None:
    """Truth: what a program in Python's place is told on each of two nodes that an srun of four lines starts."""
    notes = tmp_path / "notes"
    _executable(tmp_path / "scontrol", "[ $1 = show ] && printf 'first\\nsecond\\n'\n")
    _executable(tmp_path / "hear", f'echo "$SLURM_PROCID: $*" >> {notes}\n')
    srun = (
        'echo "srun $1 $2 $3 $4 $5" >> notes\n'
        "shift 5\n"
        'for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done\n'
    ).replace("notes", str(notes))
    _executable(tmp_path / "srun", srun)
    jobs = [[[str(tmp_path / "hear"), "launch.py", "cell='1 2'"]]]
    text = script(submission(Resources(2, 8, None, 60), jobs=jobs), 3, PLAIN)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_ARRAY_TASK_ID": "0",
        "SLURM_JOB_ID": "31234",
        "SLURM_JOB_NODELIST": "whatever",
        "SLURM_CPUS_PER_TASK": "24",
    }
    subprocess.run(["bash", "-c", text], env=environment, check=True, stdout=subprocess.DEVNULL)
    told = (
        "-m torch.distributed.run --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint=first:16234 "
        "--rdzv-id=31234 --rdzv-conf=is_host={is_host},read_timeout=600 launch.py cell='1 2'"
    )
    assert notes.read_text().splitlines() == [
        "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=24 --kill-on-bad-exit=1",
        f"0: {told.format(is_host='true')}",
        f"1: {told.format(is_host='false')}",
    ]


def _executable(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


def run(tmp_path: Path, commands: list[list[str]], tell_after_s: float | None = None) -> tuple[int, str]:
    """(exit code, what was noted): the job of an array's place 1, told to end after a while."""
    _executable(tmp_path / "scontrol", f'echo "scontrol $*" >> {tmp_path}/notes\nexit 1\n')
    text = script(submission(jobs=[[["false"]], commands]), 1, PLAIN)
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


def test_a_cell_that_does_not_listen_yet_is_told_again(tmp_path: Path) -> None:
    """Truth: a cell that ignores the signal, as ranks do while they import, until after the first has come."""
    cell = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(1)\n"
        f"signal.signal(signal.SIGUSR2, lambda *_: sys.exit({EXIT_CODE}))\n"
        "time.sleep(20)\n"
    )
    assert run(tmp_path, [[sys.executable, "-c", cell]], tell_after_s=0) == (0, "scontrol requeue 7_1\n")
