"""A sweep that is interrupted or killed, or whose cells fail: what it says and leaves, and what comes of it next."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.configs import ROOT
from tests.launching import (
    ALONE,
    ANOTHER_BUDGET,
    PATIENCE_S,
    Ran,
    Sweep,
    extended,
    grid,
    group_members,
    launch,
    launch_warm,
    results,
    rows,
    side_by_side,
    start,
    untimed,
    wait_for,
    workers,
)

EAGER = f"""
import runpy, sys
from scaling_runs import meetings
meetings.SAVE_EVERY_S, meetings.MAX_SAVE_SHARE = 0, 1
sys.argv[0] = {str(ROOT / "launch.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""launch.py in a process that checkpoints at each record, for cells of seconds."""
SENTENCE = "interrupted; run the same command again to go on from here\n"


@dataclass(frozen=True)
class Stopped:
    """A sweep that was stopped, and what was left of it."""

    ran: Ran
    processes: dict[int, str]
    """Of its group, still there when it had ended."""
    checkpoints: list[Path]
    finished: int
    """Cells."""
    store: Path


@pytest.fixture(scope="module")
def outcomes(base: Path, sweep: Sweep) -> dict[str, Any]:
    """Every scenario, each in a store of its own."""
    extended(base)
    scenarios: dict[str, Callable[[Path], object]] = {
        "sigint": _interrupted,
        "sigterm": _terminated,
        "sigkill": _killed,
        "worker": _worker_killed,
        "damaged": _damaged,
        "diverged": _diverged,
    }
    return dict(
        zip(scenarios, side_by_side(*(partial(call, base) for call in scenarios.values())), strict=True)
    )


@pytest.fixture(scope="module")
def again(base: Path, outcomes: dict[str, Any]) -> dict[str, Sweep]:
    """The same command in the same store, left alone; what stops at SIGTERM stops as by Ctrl-C."""
    stores = {name: outcomes[name].store for name in ("sigint", "sigkill")}
    ran = side_by_side(*(partial(launch_warm, *grid(base, store), ALONE) for store in stores.values()))
    return {name: Sweep(one, stores[name]) for name, one in zip(stores, ran, strict=True)}


def _interrupted(base: Path) -> Stopped:
    """Ctrl-C, as a terminal sends it to all of a group."""
    store = base / "interrupted"
    running = start(*grid(base, store), "hydra.launcher.n_jobs=2")
    return _stopped(store, running, _training(store), lambda: os.killpg(running.pid, signal.SIGINT))


def _terminated(base: Path) -> Stopped:
    """SIGTERM, as a batch system sends it: to the one process that it started."""
    store = base / "terminated"
    running = start(*grid(base, store), "hydra.launcher.n_jobs=2")
    return _stopped(store, running, _training(store), lambda: os.kill(running.pid, signal.SIGTERM))


def _killed(base: Path) -> Stopped:
    """SIGKILL to all, once a cell has a checkpoint."""
    store = base / "killed"
    running = start(*grid(base, store), ALONE, cwd=ROOT, program=[sys.executable, "-c", EAGER])
    return _stopped(
        store,
        running,
        lambda: any(store.glob("cells/*/checkpoint.pt")),
        lambda: os.killpg(running.pid, signal.SIGKILL),
    )


def _stopped(
    store: Path,
    running: subprocess.Popen[str],
    begun: Callable[[], bool],
    stop: Callable[[], None],
) -> Stopped:
    """Each signal meets a sweep that has only begun: there is work left for it to stop, however fast the machine."""
    wait_for(begun, running)
    stop()
    out, err = running.communicate(timeout=60)
    until = time.monotonic() + 20
    while group_members(running.pid) and time.monotonic() < until:
        time.sleep(0.1)  # a worker may need a moment to go
    left = group_members(running.pid)
    checkpoints = list(store.glob("cells/*/checkpoint.pt"))
    finished = len(results(store))
    return Stopped(Ran(running.returncode, out, err), left, checkpoints, finished, store)


def _training(store: Path) -> Callable[[], bool]:
    """Whether a curve in the store has grown since now."""
    started = time.time_ns()

    def begun() -> bool:
        curves = (path.stat() for path in store.glob("cells/*/metrics.jsonl"))
        return any(curve.st_mtime_ns > started and curve.st_size for curve in curves)

    return begun


def _worker_killed(base: Path) -> Sweep:
    """One of joblib's workers, as the kernel kills one for its memory."""
    store = base / "worker"
    running = start(*grid(base, store), "hydra.launcher.n_jobs=2")
    wait_for(_training(store), running)
    os.kill(workers(running.pid)[0], signal.SIGKILL)
    out, err = running.communicate(timeout=240)
    return Sweep(Ran(running.returncode, out, err), store)


def _damaged(base: Path) -> list[Sweep]:
    """One of nine cells can't start, for its checkpoint is damaged; then the same without the damage."""
    whole = extended(base)
    store, kept = base / "damaged", base / "damaged-first"
    shutil.copytree(whole.store, store)
    cell = store / "cells" / whole.rows()[-1]["run_id"]
    (cell / "result.json").unlink()
    (cell / "checkpoint.pt").write_bytes(b"not a checkpoint")
    options = [*grid(base, store), ANOTHER_BUDGET, ALONE]
    first = launch_warm(*options)
    shutil.copytree(store, kept)
    (cell / "checkpoint.pt").unlink()
    return [Sweep(first, kept), Sweep(launch_warm(*options), store)]


def _diverged(base: Path) -> Sweep:
    """Every cell's loss is no number, at once."""
    store = base / "diverged"
    return Sweep(launch_warm(*grid(base, store), "recipe.lr=1e30", ALONE), store)


@pytest.mark.parametrize(("name", "code"), [("sigint", 130), ("sigterm", 143)])
def test_a_sweep_that_is_stopped_says_so_and_takes_its_workers_along(
    outcomes: dict[str, Any], name: str, code: int
) -> None:
    """Truth: the shell's exit code for the signal, one sentence, and no process of its group left."""
    stopped = outcomes[name]
    assert (stopped.ran.code, stopped.ran.err) == (code, SENTENCE)
    assert stopped.processes == {}
    assert stopped.finished < 6


def test_a_sweep_that_is_killed_on_the_spot_leaves_a_checkpoint(outcomes: dict[str, Any]) -> None:
    """Truth: a cell that is not finished has a checkpoint on the disk, which the next run went on from."""
    killed = outcomes["sigkill"]
    assert killed.ran.code == -signal.SIGKILL
    assert killed.processes == {}
    assert len(killed.checkpoints) == 1
    assert killed.finished < 6


@pytest.mark.parametrize("name", ["sigint", "sigkill"])
def test_a_stopped_sweep_started_again_ends_as_if_it_never_was(
    again: dict[str, Sweep], sweep: Sweep, name: str
) -> None:
    """Truth: the run table of an uninterrupted sweep, losses to the last bit.

    That one ran in workers side by side, and the end of this one in one process: the table knows no difference.
    """
    last = again[name]
    assert (last.ran.code, last.ran.err) == (0, "")
    assert untimed(last.rows()) == untimed(sweep.rows())
    assert not list(last.store.glob("cells/*/checkpoint.pt"))
    assert not list(last.store.rglob("*.tmp"))


def test_a_worker_that_is_killed_does_not_sink_the_sweep(outcomes: dict[str, Any], sweep: Sweep) -> None:
    """Truth: the run table of a sweep whose workers all lived."""
    survived = outcomes["worker"]
    assert survived.ran.code == 0
    assert "Traceback" not in survived.ran.err
    assert untimed(survived.rows()) == untimed(sweep.rows())


def test_a_cell_that_fails_is_named_and_left_out_and_the_rest_is_fitted(
    outcomes: dict[str, Any], base: Path
) -> None:
    """Truth: 8 of 9 cells are finished; the ninth's budget has two sizes left, which make no parabola."""
    first, _ = outcomes["damaged"]
    lost = extended(base).rows()[-1]["run_id"]
    assert first.ran.code == 1
    assert "Traceback" not in first.ran.err + first.ran.out
    table = {row["run_id"]: row for row in first.rows()}
    assert len(table) == 9
    assert [cell for cell, row in table.items() if row["status"] != "finished"] == [lost]
    assert (table[lost]["status"], table[lost]["loss"]) == ("failed", "")
    reason = table[lost]["status_reason"]
    report = first.ran.out[first.ran.out.index("Optima,") :]
    assert re.search(r"^ +1e\+09 +2 .*too-few-sizes$", report, re.MULTILINE)
    assert re.search(rf"^  {lost}: status failed: ", report, re.MULTILINE)
    assert reason
    assert f"failed: cell {lost} ({reason}); it is tried again on the next run" in report
    assert "files:" in report


def test_a_cell_that_failed_is_tried_again_on_the_next_run(outcomes: dict[str, Any], base: Path) -> None:
    """Truth: the cell's row in a sweep that went well; the other eight are not trained again."""
    first, second = outcomes["damaged"]
    assert (second.ran.code, second.ran.err) == (0, "")
    assert "failed" not in second.ran.out
    assert untimed(second.rows()) == untimed(extended(base).rows())
    before, after = results(first.store), results(second.store)
    assert len(after) == len(before) + 1 == 9
    assert {cell: after[cell] for cell in before} == before


def test_a_sweep_whose_cells_all_fail_says_why_and_leaves_its_table(outcomes: dict[str, Any]) -> None:
    """Truth: six rows, each with the reason, and no fit of nothing."""
    diverged = outcomes["diverged"]
    assert (diverged.ran.code, diverged.ran.err) == (1, "")
    table = rows(diverged.store)
    assert len(table) == 6
    for row in table:
        assert row["status"] == "failed"
        assert re.match(r"the .* is (nan|inf) at step \d+", row["status_reason"])
    assert "no fit:" in diverged.ran.out
    assert "has no finished runs" in diverged.ran.out
    assert diverged.ran.out.count("it is tried again on the next run") == 6
    assert not (diverged.folder / "fit.json").exists()


def test_two_sweeps_started_at_once_share_the_work_and_train_no_cell_twice(
    base: Path, tmp_path: Path, sweep: Sweep
) -> None:
    """Truth: each cell's attempts, and the run table of a sweep by itself; what is still the other's is told."""
    options = grid(base, tmp_path)
    both = side_by_side(partial(launch_warm, *options, ALONE), partial(launch_warm, *options, ALONE))
    assert 0 in [ran.code for ran in both], both
    for ran in both:
        assert ran.err == ""
        assert (ran.code, ran.err) == (0, ""), ran
    attempts = [path.read_text().splitlines() for path in tmp_path.glob("cells/*/attempts.jsonl")]
    assert [len(of_one) for of_one in attempts] == [1] * 6
    assert untimed(Sweep(launch_warm(*options, ALONE), tmp_path).rows()) == untimed(sweep.rows())


def test_workers_whose_sweep_is_killed_finish_their_cells_and_end(base: Path, tmp_path: Path) -> None:
    """Truth: the processes of the sweep's group, by the kernel, and what they had begun."""
    running = start(*grid(base, tmp_path), "hydra.launcher.n_jobs=2")
    wait_for(lambda: len(list(tmp_path.glob("cells/*/attempts.jsonl"))) >= 2, running)
    begun = {path.parent for path in tmp_path.glob("cells/*/attempt.json")}
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    until = time.monotonic() + PATIENCE_S
    while group_members(running.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not group_members(running.pid)
    running.communicate()
    assert all((cell / "result.json").exists() for cell in begun)


def test_a_full_disk_ends_a_sweep_with_one_sentence_and_with_room_it_goes_on(
    base: Path, small_disk: Path, sweep: Sweep
) -> None:
    """Truth: a real one; then the run table of a sweep that had room."""
    options = grid(base, small_disk / "store")
    full = launch(*options)  # its workers end with it
    assert full.code == 1, full
    assert re.fullmatch(
        r"error: '.*' can't be written: No space left on device; make room and run .*\n", full.err
    )
    subprocess.run(["mount", "-o", "remount,size=100M", str(small_disk)], check=True)
    again = Sweep(launch_warm(*options, ALONE), small_disk / "store")
    assert (again.ran.code, again.ran.err) == (0, "")
    assert untimed(again.rows()) == untimed(sweep.rows())
