"""Run tables in files: CSV, parquet, a sweep's folder."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from fit.errors import UserError
from fit.sources.rows import Rows
from fit.text import one_line

PARQUET = (".parquet", ".pq")
PARQUET_MAGIC = b"PAR1"
"""The first bytes of every parquet file, whatever its name."""
PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
DECIMAL_COMMA, DECIMAL_POINT = re.compile(r"\d,\d"), re.compile(r"\d\.\d")
RUNS = "runs.csv"
"""A sweep's table, in its folder."""


def table_file(source: str | Path) -> Path:
    """The file that `source`, a table or a sweep's folder, stands for. UserError where there is none."""
    if not str(source):
        raise UserError("the run table's name is empty; give a CSV or parquet file, or a sweep's folder")
    path = Path(source)
    if path.is_dir():
        if not (path / RUNS).exists():
            raise UserError(
                f"folder '{path}' holds no {RUNS}; give a sweep's folder, or a CSV or parquet file"
            )
        return path / RUNS
    if not path.exists():
        raise UserError(f"'{path}' does not exist; give a CSV or parquet file, or a sweep's folder")
    return path


def read_file(path: Path) -> Rows:
    """The rows of a parquet file, or of a CSV. UserError where it can't be read, or has none."""
    try:
        content = path.read_bytes()  # once, for a pipe has no second time
    except OSError as error:
        raise _unreadable(str(path), path.suffix.lower() in PARQUET, error) from None
    return rows_of(str(path), content)


def rows_of(name: str, content: bytes) -> Rows:
    """The rows of a file of this name and content, as `read_file` has them."""
    import pandas as pd

    suffix = PurePosixPath(name).suffix.lower()
    parquet = suffix in PARQUET or content.startswith(PARQUET_MAGIC)
    try:
        if parquet:
            rows = Rows(name, pd.read_parquet(io.BytesIO(content)), "row")
        else:
            rows = _read_csv(name, _text(content, suffix))
    except UserError:
        raise
    except pd.errors.EmptyDataError:
        raise UserError(f"'{name}' is empty; a run table has a header and a row a run") from None
    except Exception as error:  # pandas, pyarrow and what unpacks: each raises its own
        raise _unreadable(name, parquet, error) from None
    frame = rows.frame
    if frame.empty:
        raise UserError(f"'{name}' has a header and no rows; a run table has a row a run")
    if any(index is not None for index in frame.index.names):
        # parquet keeps an index apart from the columns; it may be one that we need
        frame = frame.reset_index()
    frame.columns = [one_line(str(column).strip()) for column in frame.columns]
    return Rows(rows.name, frame.reset_index(drop=True), rows.place, rows.lines, rows.notes)


def _unreadable(name: str, parquet: bool, error: Exception) -> UserError:
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"'{name}' can't be read as {'parquet' if parquet else 'CSV'}: {what}")


def _text(content: bytes, suffix: str) -> str:
    """UTF-8, or the UTF-16 that spreadsheets write, by its first bytes; unpacked where the file's suffix says so."""
    content = PACKED.get(suffix, bytes)(content)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].count(b"\n")
        raise ValueError(
            f"line {line} is no text in UTF-8 (byte {content[error.start]:#x}); save the table as CSV in UTF-8"
        ) from None


def _read_csv(name: str, text: str) -> Rows:
    """Without pandas's guess that a surplus field is an index, which would shift every column by one."""
    import pandas as pd

    header, _, body = text.lstrip().partition("\n")
    separator = max(SEPARATORS, key=header.count)  # the comma, where there is none
    # a comma that parts no columns may be a decimal sign
    comma = separator != "," and bool(DECIMAL_COMMA.search(body)) and not DECIMAL_POINT.search(body)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                io.StringIO(text, newline=""),
                sep=separator,
                decimal="," if comma else ".",
                index_col=False,
                skipinitialspace=True,
                low_memory=False,  # in one piece, for a column has one type
            )
        except pd.errors.ParserWarning:
            raise UserError(
                f"'{name}' has rows with more fields than its header, at {SEPARATORS[separator]} between two; give "
                f"each column a name"
            ) from None
    notes = []
    if separator != ",":
        notes.append(f"columns are parted by {SEPARATORS[separator]}, not a comma")
    if comma:
        notes.append("a comma is taken for the decimal sign, as in 3,14")
    lines = _lines(text, separator, len(frame))
    return Rows(name, frame, "row" if lines is None else "line", lines or (), tuple(notes))


def _lines(text: str, separator: str, rows: int) -> tuple[int, ...] | None:
    """(rows,) the line on which each row starts; empty where they follow the header line by line, None if not known.

    pandas passes over blank lines, and a field in quotes may hold line breaks.
    """
    breaks = text.count("\n") + text.count("\r") - text.count("\r\n")
    if breaks + (not text.endswith(("\n", "\r"))) == rows + 1:
        return ()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    starts, start = [], 1
    try:
        for fields in reader:
            if len(fields) > 1 or (fields and fields[0].strip()):
                starts.append(start)
            start = reader.line_num + 1
    except csv.Error:  # a field longer than it takes, say
        return None
    return tuple(starts[1:]) if len(starts) == rows + 1 else None
