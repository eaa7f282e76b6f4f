"""Sweeps by ranks of which some cells are apart and others together, that lose a rank, or of which one rank fails."""

from __future__ import annotations

import json
import re
import socket
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.configs import ROOT
from tests.launching import (
    Ran,
    Sweep,
    around,
    grid,
    launch,
    launch_ranks,
    results,
    side_by_side,
    untimed,
)
from tests.test_torchrun import ADAMW, TOGETHER, by_one_process, by_torchrun

MIXED = """
from scaling_runs import apart
apart.fits_alone = lambda spec, memory_bytes: spec.shape.width < 16
"""
"""launch.py, as if models of width 16 and more fitted no device alone, as on a GPU of the right size."""
ENDING = """
from pathlib import Path
from scaling_runs import train
step = train.TrainStep.__call__
def ending(self, windows, at):
    done = len(list(Path(os.environ["STORE"]).glob("cells/*/result.json")))
    if (done, at, os.environ["RANK"]) == ({done}, 20, "1"):
        {ending}
    return step(self, windows, at)
train.TrainStep.__call__ = ending
"""
"""launch.py, whose second rank ends in the midst of a cell, once so many are done."""


@dataclass(frozen=True)
class Ranks:
    """Sweeps by two ranks, and by one process."""

    apart: tuple[list[Ran], Sweep]
    mixed: tuple[list[Ran], Sweep]
    together: Sweep
    alone: Sweep
    lost: list[Ran]
    done_when_lost: dict[str, int]
    again: Sweep
    failed: tuple[list[Ran], Sweep]


@pytest.fixture(scope="module")
def ranks(base: Path) -> Ranks:
    stores = {name: base / f"ranks-{name}" for name in ("trunks", "mixed", "lost", "failed")}
    options = {name: [*grid(base, store), *ADAMW] for name, store in stores.items()}
    mixed = around(base / "mixed.py", MIXED)
    failing = around(base / "failing.py", ENDING.format(ending="1 / 0", done=0))
    together, alone, by_ranks, by_both, (lost, done, again), failed = side_by_side(
        partial(by_torchrun, base),
        partial(by_one_process, base),
        partial(launch_ranks, 2, *grid(base, stores["trunks"]), "ranks=apart"),
        partial(launch_ranks, 2, *options["mixed"], "ranks=apart", program=mixed),
        partial(_lost, base, stores["lost"], options["lost"]),
        partial(launch_ranks, 2, *options["failed"], TOGETHER, program=failing, STORE=str(stores["failed"])),
    )
    return Ranks(
        (by_ranks, Sweep(by_ranks[0], stores["trunks"])),
        (by_both, Sweep(by_both[0], stores["mixed"])),
        together,
        alone,
        lost,
        done,
        Sweep(again[0], stores["lost"]),
        (failed, Sweep(failed[0], stores["failed"])),
    )


def _lost(base: Path, store: Path, options: list[str]) -> tuple[list[Ran], dict[str, int], list[Ran]]:
    """What the ranks said when one was killed, what was done by then, and what they said when started again."""
    killed = around(base / "killed.py", ENDING.format(ending="os.kill(os.getpid(), signal.SIGKILL)", done=2))
    lost = launch_ranks(2, *options, TOGETHER, program=killed, STORE=str(store))
    return lost, results(store), launch_ranks(2, *options, TOGETHER)


def test_ranks_apart_share_trunks(ranks: Ranks, sweep: Sweep) -> None:
    """Truth: the run table of the sweep by processes, to the last digit, and curves with a trunk's own clock in common.

    A cell that trained the trunk anew would have read another clock.
    """
    ran, apart = ranks.apart
    assert [one.code for one in ran] == [0, 0], ran
    assert apart.ran.out.count("6 cells side by side, one a rank, then 0 on all 2 ranks") == 1
    assert [(row["run_id"], row["loss"], row["ranks"]) for row in apart.rows()] == [
        (row["run_id"], row["loss"], "1") for row in sweep.rows()
    ]
    for width in {row["width"] for row in apart.rows()}:
        one, other = (row["run_id"] for row in apart.rows() if row["width"] == width)
        first, second = (_curve(apart.store, cell_id)[0] for cell_id in (one, other))
        assert first == second, "one goes on from the other's trunk"


def _curve(store: Path, cell_id: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (store / "cells" / cell_id / "metrics.jsonl").open()]


def test_some_cells_go_apart_and_the_others_together(ranks: Ranks) -> None:
    """Truth: widths decide; the run table of one process, to the last digit apart, within 1e-4 together."""
    ran, mixed = ranks.mixed
    assert [one.code for one in ran] == [0, 0], ran
    found = mixed.rows()
    together = [row for row in found if int(row["width"]) >= 16]
    assert 0 < len(together) < len(found)
    apart = len(found) - len(together)
    assert f"{apart} cells side by side, one a rank, then {len(together)} on all 2 ranks" in mixed.ran.out
    assert len(found) == len(ranks.alone.rows())
    for row, alone in zip(found, ranks.alone.rows(), strict=True):
        assert (row["run_id"], row["tokens"]) == (alone["run_id"], alone["tokens"])
        if row in together:
            assert row["ranks"] == "2"
            assert float(row["loss"]) == pytest.approx(float(alone["loss"]), abs=1e-4)
        else:
            assert (row["ranks"], row["loss"]) == ("1", alone["loss"])


def test_a_sweep_that_lost_a_rank_goes_on_to_the_run_table_that_it_would_have_had(ranks: Ranks) -> None:
    """Truth: the run table of ranks that nobody killed, to the last digit; what was done then is not done again."""
    first, second = ranks.lost
    assert (first.code, second.code) == (2, -9)
    assert re.search(r"^error: rank 0 has lost another rank.* run the same command again", first.err, re.M), (
        first.err
    )
    assert len(ranks.done_when_lost) == 2
    assert ranks.again.ran.code == 0, ranks.again.ran
    assert untimed(ranks.again.rows()) == untimed(ranks.together.rows())
    assert ranks.done_when_lost.items() <= results(ranks.again.store).items()


def test_a_rank_that_fails_alone_says_why_and_ends_the_sweep(ranks: Ranks) -> None:
    """Truth: a division by zero in the second rank alone, for which the first would wait ten minutes."""
    (first, second), sweep = ranks.failed
    assert (first.code, second.code) == (2, 2)
    assert re.search(r"^error: rank 0 has lost another rank", first.err, re.M), first.err
    told = r"^error: rank 1 has failed in cell (\w+), .* \(ZeroDivisionError: division by zero\); .* run the same"
    (cell,) = re.findall(told, second.err, re.M)
    assert not (sweep.store / "cells" / cell / "result.json").exists()
    failure = json.loads((sweep.store / "cells" / cell / "failure.json").read_text())
    assert "1 / 0" in failure["details"]
    assert not results(sweep.store)


REFUSED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from fit.errors import UserError
from scaling_runs.usage import plain_errors
with plain_errors():
    raise UserError("threads is 0; it must be at least 1")
"""


def test_each_node_tells_an_error_once_and_those_without_rank_0_say_who_they_are(tmp_path: Path) -> None:
    """Truth: two torchruns as on two nodes, of two ranks each, all of which meet the same error."""
    program = tmp_path / "refused.py"
    program.write_text(REFUSED)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def node(rank: int) -> Ran:
        options = ["--nnodes=2", "--nproc-per-node=2", f"--node-rank={rank}", "--master-addr=127.0.0.1"]
        torchrun = [sys.executable, "-m", "torch.distributed.run", *options, f"--master-port={port}"]
        return launch(str(ROOT), program=[*torchrun, str(program)])

    first, second = side_by_side(partial(node, 0), partial(node, 1))
    assert re.findall(r"^error: .*", first.err, re.M) == ["error: threads is 0; it must be at least 1"]
    (told,) = re.findall(r"^error: .*", second.err, re.M)
    assert re.fullmatch(
        rf"error: {socket.gethostname()}, rank [23]: threads is 0; it must be at least 1", told
    )
