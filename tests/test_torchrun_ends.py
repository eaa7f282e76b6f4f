"""What ends the ranks of a cell: a word from outside, and what one of them alone meets."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from shutil import copytree

import pytest

from scaling_runs.stopping import EXIT_CODE
from tests.launching import Ran, around, grid, launch_ranks, one_cell, results, side_by_side
from tests.test_torchrun import TOGETHER
from tests.test_torchrun_sharded import ADAMW

TOLD_AT = 40
SELDOM = """
from scaling_runs import meter
meter.RECORDS = 2
"""
"""A record in the middle and one at the end, as far apart as those of a cell of hours."""
TOLD = f"""{SELDOM}
import time
from scaling_runs import meetings, train
meetings.MEET_EVERY_S = 0.2
step = train.TrainStep.__call__
def slow(self, windows, at):
    time.sleep(0.05)
    if at == {TOLD_AT} and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGUSR2)
    return step(self, windows, at)
train.TrainStep.__call__ = slow
"""


def test_ranks_that_are_told_to_end_do_so_in_seconds_however_seldom_they_record(
    base: Path, tmp_path: Path
) -> None:
    """Truth: the signal itself, to the second rank in mid-cell; then loss and records of the cell that nobody told."""
    told, undisturbed = around(tmp_path / "told.py", TOLD), around(tmp_path / "seldom.py", SELDOM)
    options = [*one_cell(base, tmp_path / "told"), *ADAMW]
    ended, whole = side_by_side(
        partial(launch_ranks, 2, *options, program=told),
        partial(launch_ranks, 2, *one_cell(base, tmp_path / "whole"), *ADAMW, program=undisturbed),
    )
    assert [one.code for one in ended] == [EXIT_CODE] * 2, ended
    assert [one.code for one in whole] == [0, 0], whole
    (cell,) = (tmp_path / "told").glob("cells/*")
    assert not (cell / "failure.json").exists()
    calls = []
    for ranks in (1, 2):
        copytree(tmp_path / "told", tmp_path / str(ranks))
        again = [*one_cell(base, tmp_path / str(ranks)), *ADAMW]
        calls.append(partial(launch_ranks, ranks, *again, program=undisturbed))
    expected = _curve(tmp_path / "whole" / "cells" / cell.name)
    for ranks, ran in zip((1, 2), side_by_side(*calls), strict=True):
        assert [one.code for one in ran] == [0] * ranks, ran
        folder = tmp_path / str(ranks) / "cells" / cell.name
        attempts = [json.loads(line) for line in (folder / "attempts.jsonl").open()]
        assert [one["from"] for one in attempts] == ["nothing", "checkpoint"]
        assert TOLD_AT < attempts[1]["step"] <= TOLD_AT + 12
        curve = _curve(folder)
        assert [record["step"] for record in curve] == [record["step"] for record in expected]
        for record, undisturbed_one in zip(curve, expected, strict=True):
            for name in ("train_loss", "val_loss_probe", "val_loss"):
                if name in record:
                    assert record[name] == pytest.approx(undisturbed_one[name], abs=1e-4), (name, record)


def _curve(cell: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (cell / "metrics.jsonl").open()]


FAILING = """
import errno
from scaling_runs.store import CellFolder
def failing(*anything):
    raise OSError(errno.{error}, os.strerror(errno.{error}))
CellFolder.{method} = failing
"""
"""launch.py, whose rank 0, which alone does so, can't do one thing more with a cell's folder."""


@pytest.mark.parametrize("method", ["lock", "begin_attempt", "write_result"])
def test_what_rank_0_alone_meets_outside_training_ends_all_at_once(
    base: Path, tmp_path: Path, method: str
) -> None:
    """Truth: a disk's error. The others would wait for ten minutes, or take what comes next for something else."""
    program = around(tmp_path / "failing.py", FAILING.format(method=method, error="EIO"))
    ran: list[Ran] = launch_ranks(2, *grid(base, tmp_path / "store"), *ADAMW, TOGETHER, program=program)
    assert [one.code for one in ran] == [2, 2], ran
    told = r"^error: rank 0 has failed in cell (\w+), .* \(OSError: \[Errno 5\] Input/output error\); .*"
    (cell,) = re.findall(told, ran[0].err, re.M)
    assert "Traceback" not in ran[0].err + ran[1].err
    assert not results(tmp_path / "store")
    assert (tmp_path / "store" / "cells" / cell / "failure.json").exists() == (method != "lock")


AROUND = """
import errno
from scaling_runs import {module} as module
def failing(*anything, **options):
    raise OSError(errno.EIO, os.strerror(errno.EIO))
module.{name} = failing
"""
"""launch.py, whose rank 0, which alone does so, can't do one thing with the sweep's own files."""


@pytest.mark.parametrize("name", ["sweeper.write_plan", "sweeper.finish_models", "sweeper.left_of"])
def test_what_rank_0_alone_meets_outside_cells_ends_all_at_once(
    base: Path, tmp_path: Path, name: str
) -> None:
    """Truth: a disk's error, which every rank hears of, for the others would wait for ten minutes."""
    module, _, name = name.partition(".")
    program = around(tmp_path / "failing.py", AROUND.format(module=module, name=name))
    ran: list[Ran] = launch_ranks(2, *grid(base, tmp_path / "store"), *ADAMW, TOGETHER, program=program)
    assert [one.code for one in ran] == [1, 1], ran
    assert all("Input/output error" in one.err for one in ran)


def test_a_disk_that_is_full_ends_the_ranks_and_is_no_failure_of_the_cell(base: Path, tmp_path: Path) -> None:
    """Truth: the system's own words, once; nothing is written of the cell, whose checkpoint stays."""
    program = around(tmp_path / "full.py", FAILING.format(method="write_result", error="ENOSPC"))
    ran = launch_ranks(2, *grid(base, tmp_path / "store"), *ADAMW, TOGETHER, program=program)
    assert [one.code for one in ran] == [1, 2], ran
    assert re.search(r"^error: .* can't be written: No space left on device; make room and", ran[0].err, re.M)
    assert not list((tmp_path / "store").glob("cells/*/failure.json"))
