"""An adaptive sweep from the command line: killed in the midst of a round, and started again."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.launching import (
    ALONE,
    Sweep,
    launch_warm,
    results,
    rows,
    start,
    text_options,
    untimed,
    wait_for,
)

OPTIONS = [
    "sweep=isoflop_tiny",
    "sweep.planner=adaptive",
    "sweep.target=1e11",
    "sweep.budgets=[5e8,7e8,1e9]",
    "sweep.sizes=3",
    "sweep.span=2.8",
    "sweep.expected_params=3e3",
    "sweep.expected_at_flops=1e9",
    "sweep.max_flops=1e10",
    "recipe.batch_tokens=128",
    "recipe.lr=2e-2",
    "recipe.muon_lr=0.03",
    "tracking=off",
    ALONE,
]


def decisions(store: Path) -> list[dict[str, Any]]:
    return list(json.loads((store / "isoflop_tiny" / "decisions.json").read_text()))


@pytest.fixture(scope="module")
def resumed(base: Path) -> tuple[Sweep, list[dict[str, Any]], dict[str, int]]:
    """Killed once a cell of its second round is done, and run again; what was decided and done at the kill."""
    store = base / "adaptive"
    options = [*OPTIONS, *text_options(base), f"store={store}"]
    running = start(*options)
    wait_for(lambda: len(results(store)) >= 4, running)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    before, done = decisions(store), results(store)
    return Sweep(launch_warm(*options), store), before, done


def test_it_goes_on_with_the_decisions_that_it_had_made(
    resumed: tuple[Sweep, list[dict[str, Any]], dict[str, int]],
) -> None:
    """Truth: decisions.json as the kill left it, and when each finished cell was written."""
    sweep, before, done = resumed
    assert (sweep.ran.code, sweep.ran.err) == (0, "")
    after = decisions(sweep.store)
    assert len(before) == 2
    assert after[:2] == before
    assert results(sweep.store).items() >= done.items()
    asked = {one["cell"] for decision in after for action in decision["actions"] for one in action["cells"]}
    assert asked == set(results(sweep.store)) == {row["run_id"] for row in sweep.rows()}


def test_the_report_gives_each_reason_and_the_ratio_at_the_target(
    resumed: tuple[Sweep, list[dict[str, Any]], dict[str, int]],
) -> None:
    """Truth: the words of decisions.json, on the terminal and in summary.txt; the FLOPs that may be spent."""
    sweep, *_ = resumed
    summary = (sweep.folder / "summary.txt").read_text()
    for decision in decisions(sweep.store):
        words = [action["why"] for action in decision["actions"]] + [decision["stop"] or ""]
        assert all(one in summary and one in sweep.ran.out for one in words)
    assert "N : D = 1 : " in summary.splitlines()[-2]
    assert sum(float(row["flops"]) for row in sweep.rows()) <= 1e10
    fit = json.loads((sweep.folder / "fit.json").read_text())
    assert [prediction["flops"] for prediction in fit["predictions"]] == [1e11]


def test_its_audit_is_of_the_cells_that_were_decided(
    base: Path, tmp_path: Path, resumed: tuple[Sweep, list[dict[str, Any]], dict[str, int]]
) -> None:
    """Truth: the sweep's own table, decisions and cells, which stay; two sizes about the best cell of each of two
    budgets, each under four changes."""
    sweep, *_ = resumed
    store = tmp_path / "audited"
    shutil.copytree(sweep.store, store)
    ran = launch_warm(*OPTIONS, *text_options(base), f"store={store}", "audit=true")
    assert (ran.code, ran.err) == (0, "")
    assert decisions(store) == decisions(sweep.store)
    assert untimed(rows(store)) == untimed(sweep.rows())
    with (store / "isoflop_tiny" / "audit.csv").open(newline="") as file:
        audited = list(csv.DictReader(file))
    of = {row["run_id"]: row for row in sweep.rows()}
    assert len({row["perturbation"] for row in audited}) == 4
    budgets = {row["budget"] for row in audited}
    assert len(budgets) == 2
    for budget in budgets:
        best = min(
            (row for row in of.values() if row["budget"] == budget), key=lambda row: float(row["loss"])
        )
        sizes = {int(of[row["rule_run_id"]]["params"]) for row in audited if row["budget"] == budget}
        small, large = sorted(sizes)
        assert small <= int(best["params"]) <= large
    assert results(store).keys() == results(sweep.store).keys() | {row["run_id"] for row in audited}
    assert "The audit:" in ran.out
    assert ran.out.index("stop: ") < ran.out.index("audit: ") < ran.out.index("the audit's cells")
    told = launch_warm(*OPTIONS, *text_options(base), f"store={store}", "audit=true", "dry_run=true")
    assert "audit: of the cells that are decided by the end, which says its cost then" in told.out
