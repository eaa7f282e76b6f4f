"""What whoever watches a sweep sees."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from scaling_runs import monitor
from scaling_runs.cell import Cell
from scaling_runs.monitor import watching
from scaling_runs.spec import CellSpec
from scaling_runs.store import Store
from tests.configs import plan_of

ON_A_TERMINAL = """
import sys, time
from pathlib import Path
from scaling_runs import monitor
from scaling_runs.store import Store
from tests.configs import plan_of

monitor.LOOK_EVERY_S = 0.05
store, cells = Store(Path(sys.argv[1])), plan_of("sweep=isoflop_tiny", "recipe=cosine").cells
for cell in cells:
    store.add(cell.spec)
with monitor.watching(store, cells):
    for number, cell in enumerate(cells):
        time.sleep(0.1)
        if number == 1:
            store.cell(cell.cell_id).write_failure("the training loss is nan")
        else:
            store.cell(cell.cell_id).write_result({"loss": 2.5, "wall_s": 3.0})
"""


@pytest.fixture
def cells() -> tuple[Cell, ...]:
    return plan_of("sweep=isoflop_tiny", "recipe=cosine").cells


@pytest.fixture
def store(tmp_path: Path, cells: tuple[Cell, ...]) -> Store:
    for cell in cells:
        Store(tmp_path).add(cell.spec)
    return Store(tmp_path)


def finish(store: Store, spec: CellSpec) -> None:
    store.cell(spec.cell_id).write_result({"loss": 2.5, "wall_s": 83.0})


def test_a_quiet_line_a_cell_says_its_loss_the_share_of_flops_and_the_time_left(
    store: Store, cells: tuple[Cell, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: the plan: this cell's FLOPs over those of all."""
    with watching(store, cells):
        finish(store, cells[0].spec)
    out, err = capsys.readouterr()
    share = cells[0].spec.flops / sum(cell.spec.flops for cell in cells)
    name = f"{cells[0].budget:.3g} FLOPs, {cells[0].spec.shape.name}, seed {cells[0].spec.seed}"
    line = (
        rf"\[1/{len(cells)}\] {re.escape(name)}: loss 2\.5000 in 1m23s; {share:.0%} of the FLOPs, \w+ left\n"
    )
    assert re.fullmatch(line, out)
    assert err == ""


def test_cells_of_earlier_runs_count_as_done_and_say_nothing(
    store: Store, cells: tuple[Cell, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in cells[:-1]:
        finish(store, cell.spec)
    with watching(store, cells):
        finish(store, cells[-1].spec)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"[{len(cells)}/{len(cells)}] ")
    assert line.endswith("; 100% of the FLOPs, 0s left")


def test_a_failed_cell_says_why_and_the_rest_still_comes_to_a_hundred_percent(
    store: Store, cells: tuple[Cell, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with watching(store, cells):
        store.cell(cells[0].cell_id).write_failure(
            "the training loss is nan at step 3\nand more", "Traceback"
        )
        for cell in cells[1:]:
            finish(store, cell.spec)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(cells)
    assert ": failed: the training loss is nan at step 3; " in lines[0]
    assert lines[-1].startswith(f"[{len(cells)}/{len(cells)}] ")
    assert "; 100% of the FLOPs, 0s left" in lines[-1]


def test_a_failure_of_an_earlier_run_is_not_told_again_but_a_new_one_is(
    store: Store, cells: tuple[Cell, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: two cells that failed before: one waits, one is tried again and fails with the very same reason."""
    waits, again = (store.cell(cell.cell_id) for cell in cells[:2])
    for folder in (waits, again):
        folder.write_failure("out of memory")
    with watching(store, cells):
        again.begin_attempt()
        again.write_failure("out of memory")
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{cells[1].spec.shape.name}, seed" in line
    assert "failed: out of memory" in line


def test_a_sweep_in_which_everything_fails_at_once_ends_in_peace(
    store: Store, cells: tuple[Cell, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: no FLOPs are left to spend, and none were: there is no share to divide by."""
    with watching(store, cells):
        for cell in cells:
            store.cell(cell.cell_id).write_failure("no space left on device")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(cells)
    assert "100% of the FLOPs, 0s left" in lines[-1]


def test_a_cell_counts_for_what_it_trains_itself(store: Store) -> None:
    """Truth: the plan: the steps that a cell's trunk spares it are neither to do nor done."""
    forks = [cell for cell in plan_of("sweep=isoflop_small").cells if cell.fork_steps]
    for cell in forks:
        store.add(cell.spec)
    watch, fork = monitor._Watch(store, forks), forks[0]
    assert watch.total == sum(cell.spec.flops * cell.trained_steps / cell.spec.steps for cell in forks)
    folder, flops_a_step = store.cell(fork.cell_id), fork.spec.flops // fork.spec.steps
    for step, done in ((fork.fork_steps, 0), (fork.fork_steps + 7, 7 * flops_a_step)):
        (folder.path / "progress.json").unlink(missing_ok=True)
        with folder.metrics(up_to_step=0, write=True, then=lambda record: None) as record:
            record({"step": step, "flops": step * flops_a_step})
        watch.look()
        assert watch.done_flops() == done
    finish(store, fork.spec)
    watch.look()
    assert watch.done_flops() == fork.trained_flops


def test_flops_of_cells_on_their_way_count(store: Store, cells: tuple[Cell, ...]) -> None:
    """Truth: the heartbeats; a cell that ends gives its whole FLOPs for them, and done never goes back."""
    watch = monitor._Watch(store, cells)
    assert watch.done_flops() == 0
    folder, flops = store.cell(cells[0].cell_id), cells[0].spec.flops
    with folder.metrics(up_to_step=0, write=True, then=lambda record: None) as record:
        record({"step": 5, "flops": flops // 2})
    watch.look()
    assert watch.done_flops() == flops // 2
    finish(store, cells[0].spec)
    assert watch.done_flops() == flops // 2  # until it looks
    watch.look()
    assert watch.done_flops() == flops


def test_a_failed_cell_takes_what_it_left_unspent_off_the_total(
    store: Store, cells: tuple[Cell, ...]
) -> None:
    watch = monitor._Watch(store, cells)
    folder, flops = store.cell(cells[0].cell_id), cells[0].spec.flops
    with folder.metrics(up_to_step=0, write=True, then=lambda record: None) as record:
        record({"step": 5, "flops": flops // 2})
    folder.write_failure("out of memory")
    (ended,) = watch.look()
    assert ended.failed
    assert watch.done_flops() == flops // 2
    assert watch.total == sum(cell.spec.flops for cell in cells) - (flops - flops // 2)


def test_time_left_is_unknown_before_anything_is_done_and_then_by_rule_of_three(
    store: Store, cells: tuple[Cell, ...]
) -> None:
    """Truth: after a quarter of the FLOPs, three times as long as it took; what an earlier run did is in neither."""
    watch = monitor._Watch(store, cells)
    assert watch.time_left() == "unknown time"
    watch.at_start = watch.total / 2
    watch.ended_flops = watch.total * 0.625  # a quarter of what was left at the start
    watch.started -= 600
    assert watch.time_left() == "30m00s"


def test_ranks_but_the_first_are_silent(
    store: Store,
    cells: tuple[Cell, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "1")
    before = threading.active_count()
    with watching(store, cells):
        assert threading.active_count() == before
        finish(store, cells[0].spec)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar_in_flops(tmp_path: Path) -> None:
    """Truth: a pseudo-terminal: what a person would see of twelve cells, one of which fails."""
    cells = plan_of("sweep=isoflop_tiny", "recipe=cosine").cells
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 200))
    command = [sys.executable, "-c", ON_A_TERMINAL, str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=slave, text=True
    )
    os.close(slave)
    seen = ""
    try:
        while piece := os.read(master, 4096):
            seen += piece.decode()
    except OSError:  # how Linux says that nobody holds the other end
        pass
    finally:
        os.close(master)
    assert process.stdout is not None
    assert process.stdout.read() == ""
    assert process.wait() == 0
    total = sum(cell.spec.flops for cell in cells) - cells[1].spec.flops
    assert f"/{total / 1e9:.0f}G" in seen
    assert "FLOP/s" in seen
    assert "100%" in seen
    assert f"{cells[0].spec.shape.name} loss 2.5000 in 3s" in seen
    assert re.search(rf"\[2/{len(cells)}\] .* failed: the training loss is nan", seen)
