"""What is made of the cells: the run table, the fit, the report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.shape import load_sizes
from fit.table import load_runs
from scaling_runs.conclusion import Launched, _ladder_options, conclude, table_rows, to_csv
from scaling_runs.plan import Plan
from scaling_runs.store import Store
from tests.configs import config_of, plan_of
from tests.scaling_runs.conftest import SWEEP, filled
from tests.scaling_runs.test_launching import finish


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_rows_are_ordered_by_budget_width_and_seed(tmp_path: Path) -> None:
    """Truth: sorted by those three, whatever order the plan and the training had."""
    plan = plan_of(*SWEEP, "sweep.seeds=[2]")
    store = filled(tmp_path, plan.cells)
    for cell in plan.cells[::-2]:
        finish(store, cell)
    shuffled = Plan(plan.name, plan.cells[::-1], ())
    rows = table_rows(shuffled, store)
    places = [(row["budget"], row["width"], row["seed"]) for row in rows]
    assert places == sorted(places)
    assert len(set(places)) == len(plan.cells)
    assert rows == table_rows(plan, store)


@pytest.mark.parametrize("finished", [0, 1, 5, 12])
def test_the_table_has_every_column_whichever_cells_failed(store: Store, plan: Plan, finished: int) -> None:
    """Truth: contract 1's columns, the budget first and the reason last; a row a cell, failed ones without a loss."""
    for cell in plan.cells[len(plan.cells) - finished :]:
        finish(store, cell)
    store.cell(plan.cells[0].cell_id).write_failure("first line\nsecond, with a comma")
    rows = parsed(to_csv(table_rows(plan, store)))
    assert len(rows) == len(plan.cells) == 12
    columns = list(rows[0])
    assert (columns[0], columns[-1]) == ("budget", "status_reason")
    assert {"flops", "params", "tokens", "loss", "seed", "run_id", "wall_s", "status"} <= set(columns)
    assert ("lr" in columns) == (finished > 0)
    assert sum(row["status"] == "finished" for row in rows) == finished
    for row in rows:
        assert (row["loss"] == "") == (row["status"] == "failed")
    by_id = {row["run_id"]: row for row in rows}
    if finished < 12:
        assert by_id[plan.cells[0].cell_id]["status_reason"] == "first line second, with a comma"


def test_columns_of_older_results_are_kept(store: Store, plan: Plan) -> None:
    """Truth: results that were written with one more column, and with one less, stand in one table."""
    for cell in plan.cells:
        finish(store, cell)
    path = store.cell(plan.cells[0].cell_id).path / "result.json"
    older = json.loads(path.read_text())
    del older["lr"]
    path.write_text(json.dumps(older | {"gone_since": 7, "gone_too": 8}))
    rows = parsed(to_csv(table_rows(plan, store)))
    assert {row["gone_since"] for row in rows} == {"7", ""}
    assert [row["lr"] == "" for row in rows].count(True) == 1


@settings(deadline=None)
@given(st.floats(min_value=1e-300, max_value=1e300))
def test_numbers_survive_the_table_to_the_last_bit(loss: float) -> None:
    """Truth: the number itself."""
    assert float(parsed(to_csv([{"budget": 1e9, "loss": loss, "status": "finished"}]))[0]["loss"]) == loss


def test_failed_runs_are_set_aside_with_their_reason(store: Store, plan: Plan, tmp_path: Path) -> None:
    """Truth: the fit's own reader of the table."""
    lost, *rest = plan.cells
    for cell in rest:
        finish(store, cell)
    store.cell(lost.cell_id).write_failure("the loss is nan")
    table = tmp_path / "runs.csv"
    table.write_text(to_csv(table_rows(plan, store)))
    runs = load_runs(table)
    assert len(runs) == len(rest)
    assert [(item.run_id, "the loss is nan" in item.reason) for item in runs.set_aside] == [
        (lost.cell_id, True)
    ]


def test_a_sweep_that_obeys_a_law_finds_it(
    store: Store, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: N*(C) = 1e-2·C^0.55, which the losses are made of."""
    for cell in plan.cells:
        finish(store, cell)
    folder = tmp_path / "isoflop_tiny"
    assert conclude(config_of(*SWEEP, f"store={tmp_path}"), plan, store, folder, wall_s=61) is True
    law = json.loads((folder / "fit.json").read_text())["laws"]["params"]
    assert law["exponent"] == pytest.approx(0.55, abs=1e-6)
    assert law["coefficient"] == pytest.approx(1e-2, rel=1e-4)
    out = capsys.readouterr().out
    assert (folder / "summary.txt").read_text().strip() in out
    assert "1m01s for this run, 18s of training in all cells" in out


def test_what_was_planned_and_what_it_took_are_told_together(
    store: Store, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: two launches by hand: 100 s planned, 110 taken; a run with nothing to train compares nothing."""
    for cell in plan.cells:
        finish(store, cell)
    config, folder = config_of(*SWEEP, f"store={tmp_path}"), tmp_path / "isoflop_tiny"
    conclude(config, plan, store, folder, 120, [Launched(70, 80), Launched(30, 30)])
    assert "cells planned to take 1m40s took 1m50s, +10%; 2m00s for this run" in capsys.readouterr().out
    kept = json.loads((folder / "sweep.json").read_text())
    assert (kept["planned_s"], kept["launched_s"], kept["wall_s"]) == (100, 110, 120)
    conclude(config, plan, store, folder, 3, [Launched(0, 0.1)])
    assert "planned to take" not in capsys.readouterr().out


def test_a_report_that_no_longer_holds_is_taken_away(
    store: Store, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: without a fit, no file of an earlier fit is left to be taken for this one's."""
    config = config_of(*SWEEP, f"store={tmp_path}")
    for cell in plan.cells:
        finish(store, cell)
    assert conclude(config, plan, store, store.sweep_folder(plan.name), wall_s=1)
    capsys.readouterr()
    for cell in plan.cells:
        finish(store, cell, loss=2.0 - cell.params * 1e-9)  # the larger the better: no minimum inside
    assert conclude(config, plan, store, store.sweep_folder(plan.name), wall_s=1) is False
    left = {path.name for path in (tmp_path / "isoflop_tiny").iterdir()}
    assert left == {"runs.csv", "sweep.json"}
    out = capsys.readouterr().out
    assert "no fit:" in out
    assert f"files: {tmp_path / 'isoflop_tiny' / 'runs.csv'}\n" in out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("sweep=isoflop_small",), "llama_tiny"),
        (("sweep=isoflop_tiny",), None),
        (("sweep=isoflop_small", "model=gpt2_tiny"), "gpt2_tiny"),
        (("sweep=isoflop_small", "model.mlp_ratio=2"), None),
    ],
)
def test_advice_builds_on_the_ladder_that_the_sweep_climbed(
    tmp_path: Path, options: tuple[str, ...], named: str | None
) -> None:
    """Truth: the sweep's own ladder and window, read as `python -m fit advise --model` reads them; a file where options
    have made another of a named one, and none where not."""
    config = config_of(*options)
    (tmp_path / "model.yaml").write_text("of an earlier run")
    _, model, _, vocab = _ladder_options(config, 257, tmp_path, tmp_path)
    assert model == (named or str(tmp_path / "model.yaml"))
    assert (tmp_path / "model.yaml").exists() == (named is None)
    sizes = load_sizes(model, int(vocab))
    assert (sizes.ladder, sizes.seq_len) == (config.model.ladder(257), config.model.seq_len)
