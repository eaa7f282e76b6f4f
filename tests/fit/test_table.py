"""Run tables in, arrays out; what can't be fitted is refused by name."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fit.errors import UserError
from fit.table import RunTable, load_runs
from tests.simulated import parabolas, rows_of, write_csv

Rows = list[dict[str, Any]]


def rows() -> Rows:
    return rows_of(parabolas(budgets=[1e18, 1e19], sizes=4))


def without(*columns: str) -> Rows:
    return [{name: value for name, value in row.items() if name not in columns} for row in rows()]


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Truth: the simulated runs, to the last bit."""
    runs = parabolas(budgets=[1e18, 1e19], sizes=4)
    read = load_runs(write_csv(tmp_path / "runs.csv", rows_of(runs)))
    for name in ("budget", "flops", "params", "tokens", "loss"):
        assert np.array_equal(getattr(read, name), getattr(runs, name))
    assert list(read.run_id) == list(runs.run_id)
    assert not read.notes
    assert list(read.budgets) == [1e18, 1e19]


@pytest.mark.parametrize("name", ["runs.parquet", "RUNS.PARQUET", "runs.pq"])
@pytest.mark.parametrize("index", [None, "run_id", "loss"])
def test_parquet_says_the_same_as_csv_whatever_its_index(
    tmp_path: Path, name: str, index: str | None
) -> None:
    """Truth: the same rows as CSV. pandas keeps a named index apart from the columns."""
    frame = pd.DataFrame(rows())
    (frame if index is None else frame.set_index(index)).to_parquet(tmp_path / name)
    read = load_runs(tmp_path / name)
    expected = load_runs(write_csv(tmp_path / "runs.csv", rows()))
    assert np.array_equal(read.loss, expected.loss)
    assert list(read.run_id) == list(expected.run_id)


def test_a_sweeps_folder_stands_for_its_runs(tmp_path: Path) -> None:
    write_csv(tmp_path / "runs.csv", rows())
    assert len(load_runs(tmp_path)) == 8


@pytest.mark.parametrize("missing", ["flops", "params", "tokens"])
def test_the_third_of_flops_params_and_tokens_follows_from_6nd_and_is_said_to(
    tmp_path: Path, missing: str
) -> None:
    """Truth: the column that was left out of a table with C = 6·N·D."""
    full = parabolas(budgets=[1e18, 1e19], sizes=4)
    read = load_runs(write_csv(tmp_path / "runs.csv", without(missing)))
    np.testing.assert_allclose(getattr(read, missing), getattr(full, missing), rtol=1e-12)
    assert read.notes == (f"{missing} derived from C = 6*N*D: not in the table",)


def test_columns_of_other_names_are_found_or_mapped(tmp_path: Path) -> None:
    table = [{"N": r["params"], " D": r["tokens"], "nll": r["loss"], "C": r["flops"]} for r in rows()]
    read = load_runs(write_csv(tmp_path / "runs.csv", table), {"loss": "nll"})
    expected = load_runs(write_csv(tmp_path / "ours.csv", rows()))
    assert np.array_equal(read.tokens, expected.tokens)
    assert np.array_equal(read.loss, expected.loss)


def test_without_a_budget_column_runs_of_like_flops_are_one_budget(tmp_path: Path) -> None:
    """Truth: the budgets that the runs were made for, 4% off in what each spent."""
    table = without("budget")
    for i, row in enumerate(table):
        row["flops"] *= 1 + 0.04 * (-1) ** i
    read = load_runs(write_csv(tmp_path / "runs.csv", table))
    assert list(np.unique(read.budget, return_counts=True)[1]) == [4, 4]
    np.testing.assert_allclose(read.budgets, [1e18, 1e19], rtol=0.01)
    assert any("2 budgets found" in note for note in read.notes)


def test_flops_without_gaps_are_no_budgets(tmp_path: Path) -> None:
    table = [
        {"flops": f, "tokens": t, "loss": 3.0} for f in np.geomspace(1e18, 1e20, 60) for t in (1e9, 2e9, 3e9)
    ]
    with pytest.raises(UserError, match=r"from 1e\+18 to 1e\+20 without a gap.*--column budget=NAME"):
        load_runs(write_csv(tmp_path / "runs.csv", table))


def test_failed_runs_are_set_aside_with_their_reason(tmp_path: Path) -> None:
    table = [{**row, "status": "finished", "status_reason": ""} for row in rows()]
    table[1] |= {"status": "failed", "status_reason": "out of memory", "loss": ""}
    table[2] |= {"status": "", "loss": ""}
    read = load_runs(write_csv(tmp_path / "runs.csv", table))
    assert len(read) == 6
    assert [(item.run_id, item.reason) for item in read.set_aside] == [
        ("run 1", "status failed: out of memory"),
        ("run 2", "status missing"),
    ]


def test_conventions_of_counting_are_read_and_named(tmp_path: Path) -> None:
    """Truth: which columns were made equal."""
    table = [
        {
            **row,
            "params_all": row["params"] * 2,
            "params_body": row["params"],
            "flops_exact": row["flops"],
            "flops_6nd": row["flops"] * 1.1,
        }
        for row in rows()
    ]
    read = load_runs(write_csv(tmp_path / "runs.csv", table))
    assert set(read.params_under) == {"all", "body"}
    assert (read.params_convention, read.flops_convention) == ("body", "exact")
    plain = load_runs(write_csv(tmp_path / "plain.csv", rows()))
    assert (plain.params_under, plain.params_convention, plain.flops_convention) == ({}, None, None)


def test_columns_that_only_look_like_a_way_of_counting_are_passed_over_by_name(tmp_path: Path) -> None:
    """Truth: what each column was made: of another name, with a hole, there twice."""
    table = [
        {
            **row,
            "flops_per_second": 1e15 / row["tokens"],
            "params_millions": row["params"] / 1e6,
            "params_body": "" if i == 3 else row["params"] / 2,
            "params_all": row["params"],
            "params_ALL": row["params"] * 2,
        }
        for i, row in enumerate(rows())
    ]
    path = write_csv(tmp_path / "runs.csv", table)
    path.write_text(path.read_text().replace("params_ALL", "params_all"))
    read = load_runs(path)
    assert (read.params_under, read.flops_under) == ({}, {})
    body, twice, strange = read.notes
    assert body.startswith("column 'params_body' is not taken for a way of counting: 1 of its 8 values")
    assert twice.startswith("column 'params_all' is there twice, so neither is taken for a way of counting")
    assert strange.startswith("flops_per_second, params_millions: no known way of counting (params_all, ")


def test_optional_numbers_are_kept_beside_the_runs_that_are_fitted(tmp_path: Path) -> None:
    """Truth: the numbers that were written; a column without any is passed over, and a run set aside has none."""
    table = [
        {**row, "seed": i % 2, "lr": "" if i == 1 else 1e-3 * i, "vocab_size": "many", "warmup": 7}
        for i, row in enumerate(rows())
    ]
    table[3]["loss"] = "nan"
    read = load_runs(write_csv(tmp_path / "runs.csv", table), {"batch_tokens": "warmup"})
    assert set(read.optional) == {"seed", "lr", "batch_tokens"}
    assert list(read.optional["seed"]) == [0, 1, 0, 0, 1, 0, 1]
    np.testing.assert_array_equal(
        read.optional["lr"], [0, np.nan, 1e-3 * 2, 1e-3 * 4, 1e-3 * 5, 1e-3 * 6, 1e-3 * 7]
    )
    assert list(read.optional["batch_tokens"]) == [7] * 7


def test_flops_under_each_convention_are_kept(tmp_path: Path) -> None:
    """Truth: the columns that were written."""
    table = [{**row, "flops_exact": row["flops"], "flops_6nd": row["flops"] * 1.5} for row in rows()]
    read = load_runs(write_csv(tmp_path / "runs.csv", table))
    assert set(read.flops_under) == {"exact", "6nd"}
    assert np.array_equal(read.flops_under["6nd"], 1.5 * read.flops)


def test_a_column_that_might_have_been_meant_is_noted(tmp_path: Path) -> None:
    """A table with a training loss beside the validation loss must not be read in silence."""
    table = [{**row, "val/loss": row["loss"] + 1} for row in rows()]
    path = write_csv(tmp_path / "runs.csv", table)
    assert load_runs(path).notes == ("loss is read from column 'loss', though there is 'val/loss' too",)
    mapped = load_runs(path, {"loss": "val/loss"})
    assert mapped.notes == ()
    assert np.array_equal(mapped.loss, load_runs(path).loss + 1)


def test_names_that_a_status_and_a_run_go_by_can_be_mapped(tmp_path: Path) -> None:
    table = [{**row, "state": "finished", "name": f"r{i}"} for i, row in enumerate(rows())]
    table[0]["state"] = "killed"
    read = load_runs(write_csv(tmp_path / "runs.csv", table), {"status": "state", "run_id": "name"})
    assert [(item.run_id, item.reason) for item in read.set_aside] == [("r0", "status killed")]
    assert list(read.run_id) == [f"r{i}" for i in range(1, 8)]


@pytest.mark.parametrize("column", ["flops", "params", "tokens", "loss", "budget"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1.0, r"-1\.0"),
        (0, "0"),
        ("inf", "inf"),
        ("many", "'many'"),
        (1e300, r"1e\+300"),
        (1e-300, "1e-300"),
    ],
)
def test_a_value_that_is_no_positive_number_is_named_with_its_line(
    tmp_path: Path, column: str, value: object, shown: str
) -> None:
    """Line 4 of the file, as an editor counts, is the third row."""
    table = rows()
    table[2][column] = value
    path = write_csv(tmp_path / "runs.csv", table)
    with pytest.raises(
        UserError, match=rf"runs\.csv' line 4: {column} is {shown}.*, where a positive number"
    ):
        load_runs(path)


@pytest.mark.parametrize(
    "values", [[[1.0], [2.0]] * 4, [True] * 8, list(pd.date_range("2026-01-01", periods=8))]
)
def test_a_parquet_column_of_another_kind_is_no_number(tmp_path: Path, values: list[object]) -> None:
    frame = pd.DataFrame(rows())
    frame["loss"] = pd.Series(values)
    frame.to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(UserError, match="row 1: loss is"):
        load_runs(tmp_path / "runs.parquet")


def test_a_line_is_counted_as_an_editor_does(tmp_path: Path) -> None:
    """Truth: blank lines, one of them above the header, and a field of two lines; runs without an id are named so."""
    lines = [
        "",
        "flops,tokens,loss,why",
        "",
        "1e18,1e9,3.1,",
        "   ",
        '1e18,2e9,3.0,"two',
        'lines"',
        "1e18,4e9,3.1,",
        "1e18,8e9,LOSS,",
        "",
    ]
    (tmp_path / "runs.csv").write_text("\n".join(lines).replace("LOSS", "3.4"))
    assert list(load_runs(tmp_path / "runs.csv").run_id) == ["line 4", "line 6", "line 8", "line 9"]
    (tmp_path / "runs.csv").write_text("\r\n".join(lines).replace("LOSS", "low"))
    with pytest.raises(UserError, match="line 9: loss is 'low'"):
        load_runs(tmp_path / "runs.csv")


def test_other_separators_and_encodings_are_read_and_said_to_be(tmp_path: Path) -> None:
    """Truth: the table with commas, in UTF-8; a spreadsheet's own ways of writing it."""
    runs = load_runs(write_csv(tmp_path / "runs.csv", rows()))
    text = (tmp_path / "runs.csv").read_text()
    tabs, semicolons = text.replace(",", "\t"), text.replace(",", ";").replace(".", ",")
    parted = "columns are parted by {}, not a comma"
    for content, notes in (
        (tabs.encode(), [parted.format("a tab")]),
        (tabs.encode("utf-16"), [parted.format("a tab")]),
        (text.encode("utf-8-sig"), []),
        (
            semicolons.encode(),
            [parted.format("a semicolon"), "a comma is taken for the decimal sign, as in 3,14"],
        ),
        (gzip.compress(text.encode()), []),
    ):
        path = tmp_path / ("other.csv" + ".gz" * content.startswith(b"\x1f"))
        path.write_bytes(content)
        read = load_runs(path)
        assert np.array_equal(read.loss, runs.loss)
        assert np.array_equal(read.tokens, runs.tokens)
        assert list(read.notes) == notes


def test_parquet_is_known_by_its_first_bytes_whatever_its_name(tmp_path: Path) -> None:
    pd.DataFrame(rows()).to_parquet(tmp_path / "runs.csv")
    assert len(load_runs(tmp_path / "runs.csv")) == 8


def test_names_are_found_in_any_case_unless_they_are_a_letter(tmp_path: Path) -> None:
    """Truth: `n` may be any number, `N` is Hoffmann's params."""
    table = [
        {"FLOPs": r["flops"], "Params": r["params"], "Tokens": r["tokens"], "Loss": r["loss"], "n": i}
        for i, r in enumerate(rows())
    ]
    read = load_runs(write_csv(tmp_path / "runs.csv", table))
    assert list(read.params) == [row["params"] for row in rows()]
    table = [row | {"loss": row["Loss"] + 1} for row in table]
    read = load_runs(write_csv(tmp_path / "both.csv", table))
    assert list(read.loss) == [row["loss"] for row in table]
    assert "loss is read from column 'loss', though there is 'Loss' too" in read.notes


@pytest.mark.parametrize("status", ["Finished", "finished ", "FINISHED"])
def test_a_run_is_finished_however_that_is_written(tmp_path: Path, status: str) -> None:
    table = [row | {"status": status} for row in rows()]
    assert len(load_runs(write_csv(tmp_path / "runs.csv", table))) == 8


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_names_and_reasons_stay_on_their_line(tmp_path: Path, suffix: str) -> None:
    """Truth: Python's own escapes of line breaks and of what colours a terminal; names that differ stay apart."""
    table = [row | {"status": "finished", "status_reason": ""} for row in rows()]
    table[0]["run_id"], table[1]["run_id"] = "a\nb\x1b[31m", "a b\x1b[31m"
    table[2] |= {"status": "failed", "status_reason": "out\nof \x1b[31mmemory"}
    path = tmp_path / f"runs.{suffix}"
    if suffix == "csv":
        write_csv(path, table)
    else:
        pd.DataFrame(table).to_parquet(path)
    read = load_runs(path)
    assert list(read.run_id[:2]) == [r"a\nb\x1b[31m", r"a b\x1b[31m"]
    assert read.set_aside[0].reason == r"status failed: out\nof \x1b[31mmemory"


@pytest.mark.parametrize("factor", [1e-50, 1e50])
def test_a_loss_that_is_none_in_nats_a_token_is_refused(tmp_path: Path, factor: float) -> None:
    table = [row | {"loss": row["loss"] * factor} for row in rows()]
    with pytest.raises(UserError, match=r"line 2: loss is .*nats between 1e-06 and 1e\+06 is expected"):
        load_runs(write_csv(tmp_path / "runs.csv", table))


def read_or_refused(path: Path) -> RunTable | str:
    """The table, or the sentence that refuses it."""
    try:
        return load_runs(path)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("column", ["run_id", "seed", "status", "status_reason", "lr", "budget"])
@pytest.mark.parametrize("value", [[1.0, 2.0], {"a": 1}, b"bytes", "two\nlines", True, 1e308])
def test_whatever_a_column_holds_it_is_read_or_refused_in_one_sentence(
    tmp_path: Path, column: str, value: object
) -> None:
    """Truth: each row is fitted or set aside, in lines of their own; numbers alone are budgets."""
    frame = pd.DataFrame(rows()).assign(**{column: pd.Series([value] * 8)})
    frame.to_parquet(tmp_path / "runs.parquet")
    read = read_or_refused(tmp_path / "runs.parquet")
    if isinstance(read, str):
        assert column in ("status", "budget")
        assert "\n" not in read
        return
    assert len(read) + len(read.set_aside) == 8
    assert not any("\n" in item.reason for item in read.set_aside)


CELLS = st.sampled_from(
    [
        "1e18",
        "3",
        "0.5",
        "1e9",
        "",
        "nan",
        "inf",
        "-1",
        "0",
        "1e308",
        "1e-308",
        "text",
        "True",
        '"a\nb"',
        "1,5",
        "é",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.lists(
        st.sampled_from(["flops", "tokens", "params", "loss", "budget", "run_id", "status", "seed", "C", ""]),
        min_size=1,
        max_size=6,
    ),
    body=st.lists(st.lists(CELLS, min_size=1, max_size=6), max_size=6),
)
def test_no_table_is_a_traceback_or_a_number_that_is_none(
    tmp_path: Path, header: list[str], body: list[list[str]]
) -> None:
    """Truth: what is fitted is positive and finite, each row is accounted for, and all else is one sentence."""
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(",".join(line) for line in [header, *body]) + "\n")
    read = read_or_refused(path)
    if isinstance(read, str):
        assert "\n" not in read
        return
    for name in ("budget", "flops", "params", "tokens", "loss"):
        assert np.all(np.isfinite(getattr(read, name)) & (getattr(read, name) > 0))
    assert len(read) + len(read.set_aside) == len(pd.read_csv(path))


def write_text(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.csv", lambda path: None, "does not exist; give a CSV or parquet file"),
        ("empty.csv", lambda path: path.touch(), "is empty; a run table has a header"),
        ("head.csv", write_text("flops,tokens,loss\n"), "has a header and no rows"),
        ("folder", lambda path: path.mkdir(), "holds no runs.csv"),
        ("binary.csv", lambda path: path.write_bytes(bytes(range(256)) * 9), "can't be read as CSV"),
        ("damaged.parquet", lambda path: path.write_bytes(b"PAR1" + bytes(90)), "can't be read as parquet"),
        ("empty.parquet", lambda path: path.touch(), "can't be read as parquet"),
        ("short.csv", write_text("flops,loss\n1e18,3\n"), "lacks columns: needed are loss and two of"),
        ("noloss.csv", write_text("flops,tokens\n1e18,3\n"), "lacks columns: .* found are flops, tokens"),
        (
            "semicolons.csv",
            write_text("flops;tokens;loss\n1e18;1,000;3.1\n"),
            "line 2: tokens is '1,000'",
        ),
        (
            "wide_semicolons.csv",
            write_text("flops;tokens\n1;2;3\n"),
            "more fields than its header, at a semicolon between two",
        ),
        (
            "latin.csv",
            lambda path: path.write_bytes("flops,tokens,loss\n1,2,é\n".encode("latin-1")),
            r"line 2 is no text in UTF-8 \(byte 0xe9\); save the table as CSV in UTF-8",
        ),
        ("twice.csv", write_text("flops,tokens,loss,loss\n1,2,3,4\n"), "has two columns 'loss'"),
        (
            "wide.csv",
            write_text("flops,tokens,loss\n9,1e18,1e9,3\n"),
            "rows with more fields than its header",
        ),
        ("ragged.csv", write_text("flops,tokens,loss\n1,2,3\n1,2,3,4\n"), "can't be read as CSV|more fields"),
        (
            "all_failed.csv",
            write_text("flops,tokens,loss,status\n1,2,3,crashed\n"),
            "1 of them: status crashed",
        ),
    ],
)
def test_a_table_that_cannot_be_fitted_is_refused_by_name(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(UserError, match=message) as caught:
        load_runs(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_empty_is_not_the_folder_one_stands_in() -> None:
    with pytest.raises(UserError, match="name is empty"):
        load_runs("")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"size": "params"}, "'size' is none of flops, params, tokens, loss, budget"),
        ({"loss": "nll"}, "no column 'nll'; its columns are run_id, budget"),
        ({"tokens": "flops"}, "column 'flops' is taken for both tokens and flops"),
        ({"loss": "tokens"}, "column 'tokens' is taken for both"),
    ],
)
def test_a_mapping_that_cannot_hold_is_refused(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    path = write_csv(tmp_path / "runs.csv", rows())
    with pytest.raises(UserError, match=message):
        load_runs(path, columns)


def test_a_learning_rate_is_found_by_the_names_it_goes_by(tmp_path: Path) -> None:
    """Truth: the same table with the column named lr."""
    rows = [{**row, "learning_rate": 1e-3} for row in rows_of(parabolas())]
    runs = load_runs(write_csv(tmp_path / "runs.csv", rows))
    assert runs.optional["lr"].tolist() == [1e-3] * len(rows)
