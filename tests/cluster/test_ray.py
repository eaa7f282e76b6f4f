"""`hydra/launcher=ray` on a Ray that the sweep starts here and stops again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fit.errors import UserError
from scaling_runs.ray_cells import RayOptions, gpus_a_cell
from scaling_runs.store import Store
from tests.configs import ROOT
from tests.launching import Ran, Sweep, grid, launch, launch_warm, side_by_side, start, untimed, wait_for

pytest.importorskip("ray", reason="Ray is not installed: pip install ray")

RAY = ["hydra/launcher=ray", "hydra.launcher.n_jobs=2"]
DEADLY = f"""
import os, runpy, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from scaling_runs import ray_cells
train_one = ray_cells._train_one
def deadly(*arguments):
    from scaling_runs import meetings, trainee
    from scaling_runs.store import CellFolder
    meetings.SAVE_EVERY_S, meetings.MAX_SAVE_SHARE = 0, 1
    save = trainee.save_checkpoint
    def save_and_die(path, model, optimizers, progress, **options):
        save(path, model, optimizers, progress, **options)
        if path.name != "checkpoint.pt" or progress.step <= CellFolder(path.parent).spec().trunk_steps:
            return
        try:
            with open(os.environ["DIED"], "x") as file:
                file.write(f"{{path.parent.name}} {{progress.step}}")
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
    trainee.save_checkpoint = save_and_die
    return train_one(*arguments)
ray_cells._train_one = deadly
sys.argv[0] = {str(ROOT / "launch.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""launch.py, of whose workers the first to save a checkpoint past its trunk is killed right after it."""
BLOCKED = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
class NoRay:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *where):
        return None if name == "ray" else self.finder.find_spec(name, *where)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(NoRay, sys.meta_path)
sys.argv[0] = {str(ROOT / "launch.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""launch.py where no Ray is found."""


def _trained(base: Path) -> Sweep:
    store = base / "ray"
    return Sweep(launch(*grid(base, store), *RAY), store)


def _worker_killed(base: Path) -> Sweep:
    """SIGKILL in the midst of a cell, as the kernel kills a process for its memory."""
    store, died = base / "ray-killed", base / "ray-died"
    program = [sys.executable, "-c", DEADLY]
    sweep = Sweep(launch(*grid(base, store), *RAY, cwd=ROOT, program=program, DIED=str(died)), store)
    assert died.exists()
    return sweep


def _interrupted(base: Path) -> tuple[Ran, set[int]]:
    """Ctrl-C once a cell trains; and which of the processes that the sweep had started are left."""
    store = base / "ray-interrupted"
    running = start(*grid(base, store), *RAY)
    wait_for(lambda: bool(list(store.glob("cells/*/metrics.jsonl"))), running)
    below = _descendants(running.pid)
    assert len(below) > 3
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    until = time.monotonic() + 20
    while _alive(below) and time.monotonic() < until:
        time.sleep(0.1)
    return Ran(running.returncode, out, err), _alive(below)


def _descendants(pid: int) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found, todo = set(), [pid]
    while todo:
        above = todo.pop()
        below = [child for child, parent in parents if parent == above]
        found.update(below)
        todo += below
    return found


def _alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


@pytest.fixture(scope="module")
def outcomes(base: Path) -> dict[str, Any]:
    """Each sweep once. Two at a time, for a Ray takes seconds to start."""
    calls = {
        "trained": partial(_trained, base),
        "killed": partial(_worker_killed, base),
        "interrupted": partial(_interrupted, base),
        "gpus": lambda: launch(
            *grid(base, base / "ray-gpus"), *RAY, "hydra.launcher.num_gpus=1", CUDA_VISIBLE_DEVICES=""
        ),
        "nobody": lambda: launch(
            *grid(base, base / "ray-nobody"), *RAY, "hydra.launcher.address=127.0.0.1:9"
        ),
    }
    return dict(zip(calls, side_by_side(*calls.values()), strict=True))


def test_a_sweep_on_ray_gives_the_table_of_a_local_one(outcomes: dict[str, Any], sweep: Sweep) -> None:
    """Truth: the run table of joblib's workers, losses to the last bit; the terminal shows nothing of Ray."""
    on_ray = outcomes["trained"]
    assert (on_ray.ran.code, on_ray.ran.err) == (0, "")
    assert untimed(on_ray.rows()) == untimed(sweep.rows())
    told = [re.sub(r" in .*", "", line) for line in on_ray.ran.out.splitlines() if line.startswith("[")]
    assert len(told) == 6
    assert "ray" not in on_ray.ran.out.replace(str(on_ray.store), "").lower()


def test_a_cell_whose_worker_was_killed_goes_on_from_its_checkpoint(
    outcomes: dict[str, Any], sweep: Sweep
) -> None:
    """Truth: the run table of a sweep whose workers all lived; the step of the checkpoint that the killed one wrote.

    The cell's own record has a second attempt, by another process, from that very step on; its curve has each step
    once.
    """
    killed = outcomes["killed"]
    assert (killed.ran.code, killed.ran.err) == (0, "")
    assert untimed(killed.rows()) == untimed(sweep.rows())
    cell_id, saved = (killed.store.parent / "ray-died").read_text().split()
    folder = Store(killed.store).cell(cell_id)
    first, second = folder.attempts()
    assert (second["from"], second["step"]) == ("checkpoint", int(saved))
    assert first["step"] < second["step"] < folder.spec().steps
    assert first["pid"] != second["pid"]
    steps = [record["step"] for record in folder.curve() if "train_loss" in record]
    assert steps == sorted(set(steps))
    assert not list(killed.store.glob("cells/*/checkpoint.pt"))


def test_ctrl_c_stops_the_local_ray(outcomes: dict[str, Any]) -> None:
    """Truth: the shell's exit code for it, one sentence, and none of the processes that were there before."""
    ran, left = outcomes["interrupted"]
    assert (ran.code, ran.err) == (130, "interrupted; run the same command again to go on from here\n")
    assert left == set()


def test_a_gpu_that_no_node_has_is_refused(outcomes: dict[str, Any]) -> None:
    """Truth: such a task would wait for ever; CUDA_VISIBLE_DEVICES hides what this machine may have."""
    ran = outcomes["gpus"]
    assert re.fullmatch(
        r"error: hydra\.launcher\.num_gpus is 1, and no node of this Ray .* has a GPU; .*\n", ran.err
    )
    assert ran.code == 2


def test_a_cluster_that_does_not_answer_is_named(outcomes: dict[str, Any]) -> None:
    """Truth: nobody listens on port 9 of this machine."""
    ran = outcomes["nobody"]
    assert re.fullmatch(
        r"error: hydra\.launcher\.address is '127\.0\.0\.1:9', where no Ray answers .*\n", ran.err
    )
    assert ran.code == 2


def test_without_ray_one_sentence_says_how_to_install_it(tmp_path: Path) -> None:
    """Truth: importers that find no Ray; nothing is written."""
    ran = launch(
        "sweep=isoflop_tiny", "hydra/launcher=ray", cwd=tmp_path, program=[sys.executable, "-c", BLOCKED]
    )
    assert re.fullmatch(
        r"error: hydra/launcher=ray needs Ray, which is not installed; .*pip install .*\n", ran.err
    )
    assert (ran.code, ran.out) == (2, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("num_gpus=2", r"num_gpus is 2; a cell trains on one GPU or shares it"),
        ("num_gpus=-1", r"num_gpus is -1; a cell trains on one GPU or shares it"),
        ("address=''", r"address is empty; leave it out"),
        ("n_jobs=0", r"n_jobs is 0; it must be"),
    ],
)
def test_what_ray_cannot_be_told_is_refused(option: str, sentence: str, tmp_path: Path) -> None:
    """Truth: the sentence; nothing is written."""
    ran = launch_warm("sweep=isoflop_tiny", "hydra/launcher=ray", f"hydra.launcher.{option}", cwd=tmp_path)
    assert re.fullmatch(rf"error: hydra\.launcher\.{sentence}.*\n", ran.err)
    assert (ran.code, ran.out) == (2, "")
    assert not list(tmp_path.iterdir())


def test_a_cell_asks_for_what_a_node_has() -> None:
    """Truth: Ray's rule that a task runs on one node: GPUs of one and CPUs of another are of no use."""
    cpus, gpus = {"CPU": 64.0}, {"CPU": 2.0, "GPU": 8.0}
    assert gpus_a_cell(RayOptions("local", 2, None), 1, [cpus]) == 0
    assert gpus_a_cell(RayOptions("auto", 2, None), 2, [cpus, gpus]) == 1
    assert gpus_a_cell(RayOptions("auto", 2, 0.5), 2, [cpus, gpus]) == 0.5
    assert gpus_a_cell(RayOptions("auto", 2, 0), 64, [cpus, gpus]) == 0
    with pytest.raises(UserError, match=r"no node of this Ray \(address 'local'\) has a GPU"):
        gpus_a_cell(RayOptions("local", 2, 1), 1, [cpus])
    with pytest.raises(UserError, match=r"threads is 4, .* CPUs beside a GPU, but 64 at most"):
        gpus_a_cell(RayOptions("auto", 2, 1), 4, [cpus, gpus])
    with pytest.raises(UserError, match=r"threads is 4, .* has as many CPUs, but 2 at most"):
        gpus_a_cell(RayOptions("local", 2, None), 4, [{"CPU": 2.0}])
