"""A few columns of any table, by whatever names they have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fit.errors import UserError
from fit.table import _numbers, _read, table_file


def load_columns(source: str | Path, columns: Mapping[str, str]) -> dict[str, np.ndarray]:
    """(n,) positive numbers of each column of a CSV, a parquet file or a sweep's folder, by the names we give them.

    columns: ours -> the table's. UserError names the file, the row and the column of whatever can't be used.
    """
    path = table_file(source)
    frame = _read(path)
    there = list(frame.columns)
    for option, column in columns.items():
        if column not in there:
            names = ", ".join(map(str, there))
            raise UserError(f"'{path}' has no column '{column}' for --{option}; its columns are {names}")
        if there.count(column) > 1 or f"{column}.1" in there:  # pandas's name for a CSV's second
            raise UserError(f"'{path}' has two columns '{column}'; remove or rename one")
    if len(set(columns.values())) < len(columns):
        options = " and ".join(f"--{option}" for option in columns)
        raise UserError(f"{options} name the same column of '{path}'; give each one of its own")
    return {option: _numbers(frame, column, path) for option, column in columns.items()}
