"""The bench as a user starts it, on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scaling_runs.bench import measure
from scaling_runs.bench.profile import Profile, read_profile, write_profile
from scaling_runs.hardware import workers
from tests.configs import ROOT
from tests.launching import Ran, launch, start, text_options, wait_for

BENCH = [sys.executable, "-m", "scaling_runs", "bench"]
ONE_ROW = ["shape=16", "batch=4", "precision=fp32", "devices=1"]


@dataclasses.dataclass(frozen=True)
class Bench:
    ran: Ran
    path: Path

    @property
    def profile(self) -> Profile:
        return read_profile(self.path)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Two sizes, two batches, one and two devices where there are as many."""
    base = tmp_path_factory.mktemp("bench")
    path = base / "bench.json"
    data = [option for option in text_options(base) if option.startswith("data")]
    options = ["shape=16,64", "batch=4,16", "precision=fp32", *data, f"profile={path}"]
    return Bench(launch(*options, cwd=ROOT, program=BENCH), path)


def test_every_row_is_measured_shown_and_kept(measured: Bench) -> None:
    """Truth: the rows that were asked for; a larger model takes longer and more memory, whatever the clock says."""
    assert (measured.ran.code, measured.ran.err) == (0, "")
    rows = {
        (row.setting.shape.width, row.setting.batch, row.setting.devices): row
        for row in measured.profile.rows
    }
    assert {key[:2] for key in rows} == {(16, 4), (16, 16), (64, 4), (64, 16)}
    assert {key[2] for key in rows} == {1, workers()} | {2**n for n in range(8) if 2**n <= workers()}
    assert len([line for line in measured.ran.out.splitlines() if line.split()[4:5] == ["fp32"]]) == len(rows)
    small, large = rows[16, 4, 1], rows[64, 4, 1]
    assert large.step_s > small.step_s
    if large.memory_bytes is not None and small.memory_bytes is not None:
        assert large.memory_bytes > small.memory_bytes > 0


def test_what_a_sweep_takes_beside_its_steps_is_measured_by_one(measured: Bench) -> None:
    """Truth: a worker's imports take more than a tenth of a second and less than minutes."""
    profile = measured.profile
    assert profile.start_s is not None
    assert profile.beside_s is not None
    assert 0.1 < profile.start_s < 120
    assert 0 <= profile.beside_s < 60
    assert "a cell beside its steps" in measured.ran.out


def test_what_does_not_apply_is_left_out_with_its_reason(measured: Bench) -> None:
    assert any(reason.startswith("compile=true: ") for reason in measured.profile.left_out)
    for reason in measured.profile.left_out:
        assert f"left out: {reason}" in measured.ran.out


def test_there_is_a_figure_beside_it(measured: Bench) -> None:
    assert measured.path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_profile_of_another_machine_is_not_written_over(measured: Bench, tmp_path: Path) -> None:
    path = tmp_path / "theirs.json"
    write_profile(path, dataclasses.replace(measured.profile, machine="another"))
    before = path.read_bytes()
    ran = launch(*ONE_ROW, f"profile={path}", cwd=ROOT, program=BENCH)
    assert ran.code == 2
    assert ran.err.startswith(f"error: profile={path} is of 'another', and this machine is '")
    assert path.read_bytes() == before


def test_interrupted_it_keeps_what_it_has_and_says_so(measured: Bench, tmp_path: Path) -> None:
    """Ctrl-C after the first row: the rows of the run before, and that one anew, are in the file."""
    path = tmp_path / "bench.json"
    write_profile(path, measured.profile)
    before = path.read_bytes()
    running = start("shape=16,64", "precision=fp32", f"profile={path}", cwd=ROOT, program=BENCH)
    wait_for(lambda: path.read_bytes() != before, running)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.startswith("interrupted; ")
    assert "Traceback" not in err
    kept = read_profile(path)
    assert {row.setting for row in measured.profile.rows} <= {row.setting for row in kept.rows}
    assert json.loads(before)["rows"] != json.loads(path.read_text())["rows"]


def test_its_processes_never_hear_ctrl_c_not_even_as_they_begin() -> None:
    """Truth: what a process that is started so blocks, and that this one blocks no more than before."""
    blocked = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with measure._deaf_to_ctrl_c():
        said = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert said.stdout == "True\n"
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
