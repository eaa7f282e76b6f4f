"""`torchrun --nproc-per-node=2 launch.py …`: the ranks run the same sweep in step, each cell data-parallel."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pytest

from tests.launching import (
    ALONE,
    Ran,
    Sweep,
    grid,
    launch,
    launch_ranks,
    launch_warm,
    one_cell,
    reference,
    side_by_side,
    torchrun,
)

ADAMW = [
    "recipe=adamw",
    "recipe.max_warmup_steps=null",
    "recipe.lr=2e-2",
    "recipe.batch_exponent=0",
    "model.min_depth=2",
    "sweep.budgets=[1e9,2e9]",
    "sweep.expected_params=3.8e3",
]
TOGETHER = "ranks=together"
"""Ranks add up gradients in another order than one process: a difference in the last bit, which Muon, orthogonalising
the nearly singular gradients of the narrowest models, makes thousands of times larger at each step."""


@dataclass(frozen=True)
class Ranks:
    """Sweeps by two ranks and by one process, a cell by two ranks, and a batch of three that they cannot share."""

    together: Sweep
    apart: Sweep
    alone: Sweep
    cell: list[Ran]
    uneven: list[Ran]


@cache
def by_torchrun(base: Path) -> Sweep:
    """The sweep by two ranks together, once a session."""
    store = base / "ranks-sweep"
    return Sweep(launch(*grid(base, store), *ADAMW, TOGETHER, program=torchrun(2)), store)


@cache
def by_one_process(base: Path) -> Sweep:
    """The same by one process, once a session."""
    store = base / "ranks-alone"
    return Sweep(launch_warm(*grid(base, store), *ADAMW, ALONE), store)


@pytest.fixture(scope="module")
def ranks(base: Path) -> Ranks:
    """torchrun itself starts the sweep; the others' ranks start warm, with torchrun's variables."""
    apart = base / "ranks-apart"
    together, in_turn, alone, cell, uneven = side_by_side(
        partial(by_torchrun, base),
        partial(launch, *grid(base, apart), *ADAMW, program=torchrun(2)),
        partial(by_one_process, base),
        partial(launch_ranks, 2, *one_cell(base, base / "ranks-cell")),
        partial(launch_ranks, 2, *grid(base, base / "ranks-uneven"), "recipe.batch_tokens=192", TOGETHER),
    )
    return Ranks(together, Sweep(in_turn, apart), alone, cell, uneven)


def test_two_ranks_train_the_cells_of_one_process(ranks: Ranks) -> None:
    """Truth: the run table of one process: same cells, same tokens, losses within 1e-4."""
    together, alone = ranks.together, ranks.alone
    assert (together.ran.code, alone.ran.code) == (0, 0)
    for two, one in zip(together.rows(), alone.rows(), strict=True):
        assert (two["run_id"], two["tokens"], two["flops"]) == (one["run_id"], one["tokens"], one["flops"])
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), abs=1e-4)
        assert (two["ranks"], one["ranks"]) == ("2", "1")


def test_ranks_apart_train_the_cells_of_one_process_and_say_why(ranks: Ranks) -> None:
    """Truth: the run table of one process, to the last digit: each cell is trained by one rank, as there."""
    apart, alone = ranks.apart, ranks.alone
    assert apart.ran.code == 0, apart.ran
    assert apart.ran.out.count("6 cells side by side, one a rank, then 0 on all 2 ranks") == 1
    assert [(row["run_id"], row["loss"]) for row in apart.rows()] == [
        (row["run_id"], row["loss"]) for row in alone.rows()
    ]
    assert {row["ranks"] for row in apart.rows()} == {"1"}
    assert "Traceback" not in apart.ran.err


def test_rank_0_alone_has_the_terminal_and_the_files(ranks: Ranks) -> None:
    """Truth: each line of the report once, and the files and the curves' steps of a sweep in one process."""
    together, alone = ranks.together, ranks.alone
    for line in ("6 cells,", "Optima,", "Laws,", "files:", "[1/6]", "[6/6]"):
        assert together.ran.out.count(line) == 1
    assert "Traceback" not in together.ran.err
    assert "Warning" not in together.ran.err
    assert _names(together.store) == _names(alone.store)
    for row in together.rows():
        assert _steps(together.store, row["run_id"]) == _steps(alone.store, row["run_id"])


def _names(store: Path) -> set[str]:
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}


def _steps(store: Path, cell_id: str) -> list[int]:
    lines = (store / "cells" / cell_id / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_two_ranks_train_one_cell(base: Path, ranks: Ranks) -> None:
    """Truth: the same cell in the sweep of one process a cell, trained with Muon."""
    first, second = ranks.cell
    assert (first.code, second.code) == (0, 0)
    row = next(
        row for row in reference(base).rows() if (row["budget"], row["width"]) == ("1000000000.0", "16")
    )
    result = json.loads((base / "ranks-cell" / "cells" / row["run_id"] / "result.json").read_text())
    assert (result["optimizer"], result["ranks"]) == ("muon", 2)
    assert result["loss"] == pytest.approx(float(row["loss"]), abs=1e-4)
    assert first.out.count("nats/token") == 1
    assert second.out == ""


def test_ranks_that_cannot_share_the_batch_are_refused_once_and_before_training(
    base: Path, ranks: Ranks
) -> None:
    """Truth: three sequences over two ranks."""
    first, second = ranks.uneven
    assert (first.code, second.code, second.err) == (2, 2, "")
    assert re.match(
        r"error: a batch of 3 sequences .* does not divide over 2 ranks; start a number of", first.err
    )
    assert first.err.count("\n") == 1
    assert not (base / "ranks-uneven" / "cells").exists()
