"""`hydra/launcher=slurm` on a real Slurm of this machine (slurm.sh): the same run table, whatever happens."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from scaling_runs.store import Store
from tests.cluster.slurm import jobs, slurm
from tests.configs import ROOT
from tests.launching import (
    PATIENCE_S,
    Ran,
    Sweep,
    grid,
    launch,
    launch_warm,
    reference,
    rows,
    start,
    untimed,
    wait_for,
)
from tests.test_torchrun import ADAMW

SLURM = "hydra/launcher=slurm"
LONG = "sweep.budgets=[1e9,2e11]"
"""Its narrowest cell takes most of a minute and more, so that it runs into a limit of one, whatever the machine."""
A_WHILE = "sweep.budgets=[1e9,3e10]"
"""Its narrowest cell takes some seven seconds."""
FOR_RANKS = ["sweep.budgets=[1e9,5e9]", "recipe.lr=1e-3"]
"""At the rate of GRID the last bit of a sum, which ranks add up in another order, has grown to 1e-3 nats by the end."""
TWO_NODES = ["hydra.launcher.partition=pair", "hydra.launcher.gpus=2", "hydra.launcher.gpus_a_node=1"]


def status(store: Path, cluster: Mapping[str, str]) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "scaling_runs", "status", "isoflop_tiny", f"store={store}"],
        cwd=ROOT,
        env={**os.environ, **cluster},
        capture_output=True,
        text=True,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_detached_sweep_is_found_again_and_ends_as_a_local_one(base: Path, cluster: dict[str, str]) -> None:
    """Truth: the run table of the same sweep on this machine; one array, whose jobs are not submitted twice."""
    store = base / "slurm-detached"
    left = launch(*grid(base, store), SLURM, "detach=true", **cluster)
    assert (left.code, "left to Slurm; python -m scaling_runs status isoflop_tiny" in left.out) == (
        0,
        True,
    ), left
    assert not (store / "isoflop_tiny" / "runs.csv").exists()
    assert len(jobs(cluster)) == 3  # a job a trunk
    assert re.match(
        r"isoflop_tiny: 6 cells: \d finished, \d running, \d waiting, 0 failed; ", status(store, cluster).out
    )
    assert re.search(r"^  Slurm: \d jobs? running, \d pending", status(store, cluster).out, re.M)
    again = launch(*grid(base, store), SLURM, **cluster)
    assert again.code == 0, again
    assert "3 jobs of an earlier run found in Slurm" in again.out
    assert "Slurm array" not in again.out
    assert untimed(rows(store)) == untimed(reference(base).rows())
    assert status(store, cluster).out.startswith(
        "isoflop_tiny: 6 cells: 6 finished, 0 running, 0 waiting, 0 failed; 100%"
    )


def test_whatever_happens_to_its_jobs_and_to_itself_the_table_is_that_of_a_local_run(
    base: Path, cluster: dict[str, str]
) -> None:
    """Truth: the run table of the same sweep on this machine. One job is requeued, one told to end, one runs into its
    time limit, the sweep's own process is killed and started again."""
    store, here = base / "slurm-troubled", base / "slurm-local"
    options = [*grid(base, store), LONG, SLURM, "hydra.launcher.max_minutes=1"]
    local: list[Ran] = []
    beside = threading.Thread(
        target=lambda: local.append(launch_warm(*grid(base, here), LONG, "hydra/launcher=basic"))
    )
    first = start(*options, **cluster)
    wait_for(lambda: "RUNNING" in jobs(cluster).values(), first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    second = start(*options, **cluster)
    narrowest, middle = sorted(jobs(cluster))[:2]
    wait_for(lambda: _is_training(store, width=4), second)
    slurm("scontrol", "requeue", narrowest, cluster=cluster)
    wait_for(lambda: _is_training(store, width=8), second)
    slurm("scancel", "--signal=USR2", "--batch", middle, cluster=cluster)
    beside.start()
    out, err = second.communicate(timeout=900)
    beside.join()
    assert second.returncode == local[0].code, (
        out,
        err,
    )  # 1: its top budget has its minimum at an edge, so no law
    assert {row["status"] for row in rows(here)} == {"finished"}
    assert "3 jobs of an earlier run found in Slurm" in out
    assert untimed(rows(store)) == untimed(rows(here))
    logs = "".join(path.read_text() for path in sorted((store / "isoflop_tiny" / "logs").iterdir()))
    assert logs.count("attempt 1\n") == 3
    assert "attempt 3\n" in logs  # the narrowest: requeued once, and out of time at least once
    assert logs.count("interrupted; run the same command again") >= 2  # saved and ended as they were told


def _is_training(store: Path, width: int) -> bool:
    """Whether a cell of this width is past its first steps."""
    sweep = Sweep(Ran(0, "", ""), store)
    for path in (sweep.store / "cells").glob("*/progress.json"):
        try:
            spec, progress = (path.with_name("spec.json").read_text(), path.read_text())
        except FileNotFoundError:
            continue
        if re.search(rf'"width": {width}\b', spec) and not re.search(r'"step": 0\b', progress):
            return True
    return False


def test_jobs_that_are_cancelled_are_launched_again(base: Path, cluster: dict[str, str]) -> None:
    """Truth: a local run's table, after `scancel` of everything that was submitted."""
    store = base / "slurm-cancelled"
    running = start(*grid(base, store), SLURM, **cluster)
    wait_for(lambda: "RUNNING" in jobs(cluster).values(), running)
    slurm("scancel", *jobs(cluster), cluster=cluster)
    out, err = running.communicate(timeout=240)
    assert running.returncode == 0, (out, err)
    assert out.count("Slurm array") >= 2
    assert untimed(rows(store)) == untimed(reference(base).rows())


def test_a_sweep_that_is_killed_before_slurm_has_answered_finds_what_it_submitted(
    base: Path, cluster: dict[str, str], tmp_path: Path
) -> None:
    """Truth: a local run's table, and Slurm's own count of jobs, after an sbatch that kills whoever called it once the
    jobs are submitted."""
    store, sbatch = base / "slurm-unanswered", tmp_path / "sbatch"
    sbatch.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} "$@" > {tmp_path}/answer; kill -9 $PPID\n')
    sbatch.chmod(0o755)
    first = launch(*grid(base, store), SLURM, PATH=f"{tmp_path}:{os.environ['PATH']}", **cluster)
    assert first.code == -signal.SIGKILL
    assert len(jobs(cluster)) == 3
    again = launch(*grid(base, store), SLURM, **cluster)
    assert again.code == 0, again
    assert "3 jobs of an earlier run found in Slurm" in again.out
    assert "Slurm array" not in again.out
    assert untimed(rows(store)) == untimed(reference(base).rows())


def test_a_job_that_another_partition_preempts_saves_and_goes_on(base: Path, cluster: dict[str, str]) -> None:
    """Truth: a local run's table. A job of higher priority wants the whole node while the narrowest cell trains."""
    store, here = base / "slurm-preempted", base / "slurm-not-preempted"
    options = [*grid(base, store), A_WHILE, SLURM]
    running = start(*options, **cluster)
    wait_for(lambda: _is_training(store, width=4), running)
    urgent = [
        "sbatch",
        "--parsable",
        "--partition=urgent",
        "--exclusive",
        "--output=/dev/null",
        "--wrap=sleep 1",
    ]
    number = slurm(*urgent, cluster=cluster).strip()
    out, err = running.communicate(timeout=PATIENCE_S)
    local = launch_warm(*grid(base, here), A_WHILE, "hydra/launcher=basic")
    assert running.returncode == local.code, (out, err)
    assert untimed(rows(store)) == untimed(rows(here))
    assert number not in jobs(cluster)
    logs = "".join(path.read_text() for path in sorted((store / "isoflop_tiny" / "logs").iterdir()))
    assert "attempt 2\n" in logs
    assert "interrupted; run the same command again" in logs


def test_jobs_that_a_full_disk_ends_are_no_failures_of_their_cells(
    base: Path, small_disk: Path, cluster: dict[str, str]
) -> None:
    """Truth: a real file system of 500 KB, which has none; then, with room, the run table of a local run."""
    options = [*grid(base, small_disk / "store"), SLURM]
    full = launch(*options, **cluster)
    assert full.code == 1, full
    assert re.fullmatch(r"error: .*; make room and run the same command again, .*\n", full.err), full
    assert not list(small_disk.glob("store/cells/*/failure.json"))
    subprocess.run(["mount", "-o", "remount,size=100M", str(small_disk)], check=True)
    again = launch(*options, **cluster)
    assert (again.code, again.err) == (0, ""), again
    assert untimed(rows(small_disk / "store")) == untimed(reference(base).rows())


def test_jobs_that_end_before_their_cells_begin_are_told_with_the_last_words_of_their_log(
    base: Path, tmp_path: Path, cluster: dict[str, str]
) -> None:
    """Truth: a set-up that fails, as where the nodes lack a module; each time the jobs are told, and then given up."""
    broken = "hydra.launcher.setup=['echo no such module: cuda >&2; exit 3']"
    ran = launch(*grid(base, tmp_path), SLURM, broken, **cluster)
    assert ran.code == 2, ran
    words = r"whose log \S+_0\.log ends with 'no such module: cuda'"
    ended = rf"Slurm has ended 3 jobs before 6 cells: \d+_0 FAILED, {words}"
    assert len(re.findall(rf"^warning: {ended}.*; what is left is launched again$", ran.out, re.M)) == 1
    assert re.match(rf"error: workers end before they begin a cell, 2 times in a row \({ended}", ran.err)
    assert ran.err.count("\n") == 1


def test_a_cell_that_another_process_trains_is_waited_for(
    base: Path, tmp_path: Path, cluster: dict[str, str]
) -> None:
    """Truth: this process, which has one cell until that is said; then the run table of a local run."""
    left = launch(*grid(base, tmp_path), SLURM, "detach=true", "hydra.launcher.flags=['--hold']", **cluster)
    assert left.code == 0, left
    cell = Store(tmp_path).cell(reference(base).rows()[0]["run_id"])
    cell.begin_attempt()
    with cell.lock():
        running = start(*grid(base, tmp_path), SLURM, **cluster)
        arrays = {name.partition("_")[0] for name in jobs(cluster)}
        slurm("scontrol", "release", ",".join(arrays), cluster=cluster)
        assert running.stdout is not None
        told = next((line for line in running.stdout if line.startswith("waiting for cell")), "nothing")
    assert told.startswith(
        f"waiting for cell {cell.path.name}, which is being trained by process {os.getpid()} on "
    )
    _, err = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, err) == (0, "")
    assert untimed(rows(tmp_path)) == untimed(reference(base).rows())


def test_a_cell_on_two_nodes_trains_as_in_one_process_and_saves_when_it_is_told(
    base: Path, cluster: dict[str, str]
) -> None:
    """Truth: the run table of one process: the same cells and tokens, losses within 1e-4. Of a finished sweep the
    longest cell is trained again, by two ranks, and told to end in between."""
    store, here = base / "slurm-nodes", base / "slurm-one-process"
    options = [*ADAMW, *FOR_RANKS]
    launch_warm(*grid(base, here), *options, "hydra/launcher=basic")
    longest = max(rows(here), key=lambda row: int(row["steps"]))
    shutil.copytree(here, store)
    shutil.rmtree(store / "cells" / longest["run_id"])
    running = start(*grid(base, store), *options, SLURM, *TWO_NODES, **cluster)
    wait_for(lambda: _is_training(store, int(longest["width"])), running)
    slurm("scancel", "--signal=USR2", "--batch", *jobs(cluster), cluster=cluster)
    out, err = running.communicate(timeout=PATIENCE_S)
    assert "1 job of up to 4 minutes, 2 nodes of 1 GPU" in out, (out, err)
    (log,) = (store / "isoflop_tiny" / "logs").iterdir()
    assert "interrupted; run the same command again" in log.read_text()
    assert "attempt 2\n" in log.read_text()
    for two, one in zip(rows(store), rows(here), strict=True):
        assert (two["run_id"], two["tokens"], two["flops"]) == (one["run_id"], one["tokens"], one["flops"])
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), abs=1e-4)
        assert two["ranks"] == ("2" if two["run_id"] == longest["run_id"] else "1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["hydra.launcher.partition=nowhere"], "Slurm refuses the jobs: .*nvalid partition"),
        (["hydra.launcher.flags=['--constraint=nowhere']"], "Slurm refuses the jobs: .*nvalid feature"),
        (["hydra.launcher.flags=[a100]"], "hydra.launcher.flags holds 'a100'"),
        (["hydra.launcher.max_minutes=0"], "hydra.launcher.max_minutes is 0"),
    ],
)
def test_what_the_cluster_does_not_have_is_told_in_one_sentence(
    base: Path, cluster: dict[str, str], options: list[str], said: str
) -> None:
    """Truth: a partition and a feature that nobody defined, and options that are none."""
    ran = launch_warm(*grid(base, base / "slurm-refused"), SLURM, *options, **cluster)
    assert ran.code == 2
    assert re.match(f"error: {said}", ran.err), ran.err
    assert ran.err.count("\n") == 1
    assert not jobs(cluster)


def test_without_slurm_it_says_where_to_start_it(base: Path) -> None:
    """Truth: a PATH without sbatch."""
    ran = launch_warm(*grid(base, base / "slurm-missing"), SLURM, PATH=str(Path(sys.executable).parent))
    assert ran.code == 2
    assert ran.err.startswith("error: hydra/launcher=slurm needs sbatch, squeue, scontrol on the PATH")


def test_only_a_cluster_can_be_left_alone(base: Path) -> None:
    """Truth: processes of joblib end with the sweep's own."""
    ran = launch_warm(*grid(base, base / "slurm-detach"), "detach=true")
    assert ran.code == 2
    assert ran.err.startswith("error: detach=true leaves the cells to a cluster's queue")
