"""Runs that are not fitted: each is named, with its reason, and no other is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fit.aside import DIVERGED, LOGGED_AGAIN, SetAside, by_reason
from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.table import RunTable, load_runs
from tests.simulated import parabolas, rows_of, write_csv

Rows = list[dict[str, Any]]
IN_ONE_FOLDER = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SAME = "duplicate: an earlier run has the same flops, params, tokens and loss"


def rows() -> Rows:
    return rows_of(parabolas(budgets=[1e18, 1e19], sizes=4))


def without(table: Rows, *columns: str) -> Rows:
    return [{name: value for name, value in row.items() if name not in columns} for row in table]


def read(tmp_path: Path, table: Rows) -> RunTable:
    return load_runs(write_csv(tmp_path / "runs.csv", table))


def said(runs: RunTable) -> list[tuple[str, str]]:
    return [(item.run_id, item.reason) for item in runs.set_aside]


@pytest.mark.parametrize("value", ["nan", "", "NaN", None])
def test_a_loss_that_is_none_sets_its_run_aside(tmp_path: Path, value: object) -> None:
    """Truth: the other runs, as they were written."""
    table = rows()
    table[2]["loss"] = value
    runs = read(tmp_path, table)
    assert said(runs) == [("run 2", DIVERGED)]
    assert [item.kind for item in runs.set_aside] == ["failed"]
    assert list(runs.run_id) == [row["run_id"] for i, row in enumerate(table) if i != 2]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (("flops",), "flops is missing"),
        (("budget",), "budget is missing"),
        (("flops", "tokens"), "flops and tokens are missing"),
    ],
)
def test_a_run_without_a_size_is_set_aside(tmp_path: Path, columns: tuple[str, ...], reason: str) -> None:
    table = rows()
    table[5] |= dict.fromkeys(columns, "")
    runs = read(tmp_path, table)
    assert said(runs) == [("run 5", reason)]
    assert [item.kind for item in runs.set_aside] == ["incomplete"]
    assert len(runs) == 7


def test_a_run_that_is_there_twice_counts_once_and_the_first_stays(tmp_path: Path) -> None:
    table = rows()
    runs = read(tmp_path, [*table, {**table[3], "run_id": "again"}])
    assert said(runs) == [("again", SAME)]
    assert [item.kind for item in runs.set_aside] == ["repeated"]
    assert list(runs.run_id) == [row["run_id"] for row in table]


def test_other_seeds_are_no_duplicates(tmp_path: Path) -> None:
    """Equal losses of two seeds are two runs; of one seed, one."""
    table = [{**row, "seed": 0} for row in rows()]
    runs = read(tmp_path, [*table, {**table[3], "run_id": "b", "seed": 1}, {**table[3], "run_id": "c"}])
    assert said(runs) == [
        ("c", "duplicate: an earlier run has the same flops, params, tokens, loss and seed")
    ]
    assert list(runs.optional["seed"]) == [0] * 8 + [1]


def test_of_a_run_id_that_is_logged_twice_the_last_row_stays(tmp_path: Path) -> None:
    """Truth: the later loss; a run that crashed at last has crashed, and one that was trained again has not."""
    table = [{**row, "status": "finished"} for row in rows()]
    early = [{**table[2], "loss": 9.0}, {**table[3], "status": "crashed", "loss": ""}]
    runs = read(tmp_path, [*early, *table, {**table[7], "status": "crashed"}])
    assert said(runs) == [
        ("run 2", LOGGED_AGAIN),
        ("run 3", LOGGED_AGAIN),
        ("run 7", LOGGED_AGAIN),
        ("run 7", "status crashed"),
    ]
    assert {row["run_id"] for row in rows()} - set(runs.run_id) == {"run 7"}
    assert 9.0 not in runs.loss


def test_a_run_id_that_differs_in_params_names_several_runs(tmp_path: Path) -> None:
    """A number that begins anew in each budget is no name: nothing is set aside, and a note says so."""
    table = [{**row, "run_id": i % 4} for i, row in enumerate(without(rows(), "budget"))]
    runs = read(tmp_path, table)
    assert len(runs) == 8
    assert runs.set_aside == ()
    assert (
        runs.notes[0]
        == "4 run_ids name rows that differ in flops, params and tokens, which are taken for different runs"
    )


def test_a_models_name_as_run_id_at_several_budgets_is_several_runs(tmp_path: Path) -> None:
    """Truth: a row each, as written; the table has no budget column, and the params of one name are equal."""
    table = [
        {
            "run_id": f"llama-{n:.0e}",
            "flops": 6 * n * d,
            "params": n,
            "tokens": d,
            "loss": 2 + n / d + d / n / 1e4,
        }
        for n in (1e8, 2e8, 4e8)
        for d in (1e9, 4e9)
    ]
    runs = read(tmp_path, table)
    assert (len(runs), runs.set_aside) == (6, ())
    assert "3 run_ids name rows that differ in flops and tokens" in runs.notes[0]


@pytest.mark.parametrize("column", ["lr", "batch_tokens"])
def test_one_run_id_with_several_learning_rates_or_batches_is_several_runs(
    tmp_path: Path, column: str
) -> None:
    table = [{**row, column: 1.0, "run_id": f"{row['params']:.3g}"} for row in rows()]
    others = [{**row, column: 2.0, "loss": row["loss"] + 0.1} for row in table]
    assert len(read(tmp_path, table + others)) == 16


def test_records_along_a_run_are_one_run_where_a_column_of_steps_tells(tmp_path: Path) -> None:
    """Truth: the last record of each."""
    table = [
        {**row, "step": step, "flops": row["flops"] * step / 2, "tokens": row["tokens"] * step / 2}
        for row in without(rows(), "budget")
        for step in (1, 2)
    ]
    runs = read(tmp_path, table)
    assert list(runs.tokens) == [row["tokens"] for row in rows()]
    assert {reason for _, reason in said(runs)} == {LOGGED_AGAIN}


@pytest.mark.parametrize("column", ["seed", "budget"])
def test_one_run_id_with_several_seeds_or_budgets_is_several_runs(tmp_path: Path, column: str) -> None:
    table = [{**row, "seed": 0, "run_id": f"{row['params']:.3g}"} for row in rows()]
    others = [{**row, column: row[column] * 2 + 1, "loss": row["loss"] + 0.1} for row in table]
    assert len(read(tmp_path, table + others)) == 16


def test_rows_without_a_run_id_are_not_one_run(tmp_path: Path) -> None:
    runs = read(tmp_path, [{**row, "run_id": ""} for row in rows()])
    assert list(runs.run_id) == [f"line {i + 2}" for i in range(8)]


def test_a_million_rows_of_one_run_are_one_run(tmp_path: Path) -> None:
    """Truth: a run and 999,999 that repeat it; in parquet, to be quick."""
    path = tmp_path / "runs.parquet"
    pd.DataFrame({"flops": np.full(1_000_000, 1e18), "tokens": 1e9, "loss": 3.0}).to_parquet(path)
    runs = load_runs(path)
    assert len(runs) == 1
    assert {reason: len(items) for reason, items in by_reason(runs.set_aside).items()} == {SAME: 999_999}
    with pytest.raises(UserError, match="1 budgets, none of them with 3 different sizes"):
        fit_isoflop(runs)


@pytest.mark.parametrize("column", ["loss", "flops"])
def test_where_nothing_is_left_the_reasons_are_counted(tmp_path: Path, column: str) -> None:
    table = [{**row, "status": "finished", column: ""} for row in rows()]
    table[0]["status"], table[1]["status"] = "crashed", "crashed"
    reason = DIVERGED if column == "loss" else "flops is missing"
    with pytest.raises(
        UserError, match=rf"its 8 rows are set aside \(6 of them: {reason}; 2 of them: status crashed\)"
    ):
        read(tmp_path, table)


@IN_ONE_FOLDER
@given(copies=st.integers(2, 4), named=st.booleans())
def test_a_table_that_is_doubled_says_the_same(tmp_path: Path, copies: int, named: bool) -> None:
    """Truth: the table once, to the last bit; copies add nothing but their names to what is set aside."""
    table = rows_of(parabolas(noise=0.01))
    if not named:
        table = without(table, "run_id")
    once, often = read(tmp_path, table), read(tmp_path, table * copies)
    for name in ("budget", "flops", "params", "tokens", "loss"):
        assert np.array_equal(getattr(once, name), getattr(often, name))
    assert len(often.set_aside) == (copies - 1) * len(table)
    assert fit_isoflop(once, resamples=50).laws["tokens"].exponent_ci95 == (  # type: ignore[union-attr]
        fit_isoflop(often, resamples=50).laws["tokens"].exponent_ci95  # type: ignore[union-attr]
    )


@IN_ONE_FOLDER
@given(st.lists(st.sampled_from(["finished", "crashed", "nan", "nothing", "twice"]), min_size=8, max_size=8))
def test_every_row_is_fitted_or_set_aside(tmp_path: Path, fates: list[str]) -> None:
    """Truth: a row each, whatever happened to it."""
    table = [{**row, "status": "finished"} for row in rows()]
    for row, fate in zip(list(table), fates, strict=True):
        if fate == "twice":
            table.append(dict(row))
        row |= {"crashed": {"status": "crashed"}, "nan": {"loss": "nan"}, "nothing": {"tokens": ""}}.get(
            fate, {}
        )
    if not set(fates) & {"finished", "twice"}:
        with pytest.raises(UserError, match="its 8 rows are set aside"):
            read(tmp_path, table)
        return
    runs = read(tmp_path, table)
    assert len(runs) + len(runs.set_aside) == len(table)
    assert len(runs) == fates.count("finished") + fates.count("twice")
    assert len(runs.set_aside) == 8 - fates.count("finished")


def test_reasons_keep_the_order_in_which_they_come() -> None:
    items = [SetAside("a", "x"), SetAside("b", "y"), SetAside("c", "x")]
    assert by_reason(items) == {"x": [items[0], items[2]], "y": [items[1]]}
