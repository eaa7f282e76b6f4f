"""Columns of any table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fit.columns import load_columns
from fit.errors import UserError


def test_columns_are_read_by_the_names_that_they_have(tmp_path: Path) -> None:
    """Truth: what was written, as CSV and as parquet."""
    frame = pd.DataFrame({"C": [1.0, 2.0], "err": [0.5, 0.25], "name": ["a", "b"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        found, notes = load_columns(tmp_path / name, {"x": "C", "y": "err"})
        assert notes == ()
        assert {key: list(values) for key, values in found.items()} == {"x": [1.0, 2.0], "y": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C,err\n", "has a header and no rows"),
        ("C,loss\n1,2\n", "has no column 'err' for --y; its columns are C, loss"),
        ("C,err\n1,-2\n", "line 2: err is -2"),
        ("C,err\n1,\n", "line 2: err is empty"),
        ("C,err\n1,few\n", "line 2: err is 'few'"),
        ("C,err,err\n1,2,3\n", "has two columns 'err'"),
    ],
)
def test_a_table_without_the_numbers_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        load_columns(tmp_path / "t.csv", {"x": "C", "y": "err"})


def test_one_column_for_two_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("C\n1\n2\n")
    with pytest.raises(UserError, match="--x and --y name the same column"):
        load_columns(tmp_path / "t.csv", {"x": "C", "y": "C"})
