"""Rows of text, as `datasets` reads them from files of any kind."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fit.errors import UserError
from scaling_runs.data.hub import first_line

ROWS_AT_ONCE = 1000
"""Of a .parquet file. Left to itself `datasets` takes a group of rows, and fails where one has none."""


def load_rows(
    name: str, config: str | None = None, *, split: str, streaming: bool, **options: Any
) -> tuple[Any, list[str]]:
    """(the rows as `datasets.load_dataset` has them, the files that they are read from where that is known), silent."""
    import datasets

    datasets.logging.set_verbosity(logging.CRITICAL)  # it logs what it also raises
    datasets.disable_progress_bars()
    builder = datasets.load_dataset_builder(name, config, **options)
    if getattr(builder.config, "batch_size", 0) is None:
        builder.config.batch_size = ROWS_AT_ONCE
    if streaming:
        files = (builder.config.data_files or {}).get(split, [])
        return builder.as_streaming_dataset(split=split), list(map(str, files))
    builder.download_and_prepare()
    return builder.as_dataset(split=split), []


def texts_from(
    load: Callable[[], tuple[Any, list[str]]], column: str, where: str, hint: str
) -> Iterator[bytes]:
    """The text of each row that `load` gives. UserError where they can't be had or hold no such text.

    `load` is called here; its rows are read as they are asked for. `hint`: what to do about unreadable ones.
    """
    rows, names = text_rows(load, column, where, hint)
    if len(names) < 2 or len(names) != rows.num_shards:
        return texts_of(rows, column, where, hint)
    return itertools.chain.from_iterable(
        texts_of(rows.shard(num_shards=len(names), index=index), column, f"{where}: file '{name}'", hint)
        for index, name in enumerate(names)
    )


def text_rows(
    load: Callable[[], tuple[Any, list[str]]], column: str, where: str, hint: str
) -> tuple[Any, list[str]]:
    """The data set that `load` gives, its text alone, and its files.

    UserError where it can't be had or has no such column.
    """
    with reading(where, hint):
        rows, names = load()
        columns = rows.column_names
    if columns is not None:
        _require_column(column, columns, where)
        rows = rows.select_columns([column])
    return rows, names


def texts_of(rows: Any, column: str, where: str, hint: str) -> Iterator[bytes]:
    """The text of each row that has any. UserError where a row can't be read or holds no text."""
    with reading(where, hint):
        for row in rows:
            _require_column(column, row, where)
            text = row[column]
            if text is None or text != text:  # a .csv's field of nothing is NaN
                continue
            if not isinstance(text, str):
                raise UserError(
                    f"{where}: column '{column}' holds {type(text).__name__}, not text; set data.text_column "
                    f"to one that holds text"
                )
            if text:
                yield text.encode()


@contextmanager
def reading(where: str, hint: str) -> Iterator[None]:
    """What reading raises in the body, as a UserError that names the data."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # pyarrow, json and the hub's client each raise their own
        if "zst" in str(error) and importlib.util.find_spec("zstandard") is None:
            hint = "install the package zstandard, which unpacks .zst"
        raise UserError(f"{where} can't be read ({first_line(error)}); {hint}") from error


def _require_column(column: str, columns: Any, where: str) -> None:
    if column not in columns:
        raise UserError(
            f"{where}: there is no column '{column}'; set data.text_column to one of {', '.join(columns)}"
        )


def joined(rows: Iterable[bytes], start: re.Pattern[str]) -> Iterator[bytes]:
    """Rows that are lines as documents, each from a row that `start` is found in to before the next such."""
    lines: list[bytes] = []
    for row in rows:
        if lines and start.search(row.decode(errors="replace")):
            yield b"".join(lines)
            lines = []
        lines.append(row if row.endswith(b"\n") else row + b"\n")
    if lines:
        yield b"".join(lines)
