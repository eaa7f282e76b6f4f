"""Run tables in files: CSV, parquet, a sweep's folder."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from fit.errors import UserError
from fit.sources.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")


def table_file(source: str | Path) -> Path:
    """The file that `source`, a table or a sweep's folder, stands for. UserError where there is none."""
    if not str(source):
        raise UserError("the run table's name is empty; give a CSV or parquet file, or a sweep's folder")
    path = Path(source)
    if path.is_dir():
        if not (path / "runs.csv").exists():
            raise UserError(
                f"folder '{path}' holds no runs.csv; give a sweep's folder, or a CSV or parquet file"
            )
        return path / "runs.csv"
    if not path.exists():
        raise UserError(f"'{path}' does not exist; give a CSV or parquet file, or a sweep's folder")
    return path


def read_file(path: Path) -> Rows:
    """The rows of a parquet file, by its suffix, or of a CSV. UserError where it can't be read, or has none."""
    import pandas as pd

    parquet = path.suffix.lower() in PARQUET
    try:
        frame = pd.read_parquet(path) if parquet else _read_csv(path)
    except UserError:
        raise
    except pd.errors.EmptyDataError:
        raise UserError(f"'{path}' is empty; a run table has a header and a row a run") from None
    except Exception as error:  # pandas and pyarrow each raise their own
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"'{path}' can't be read as {'parquet' if parquet else 'CSV'}: {what}") from None
    if frame.empty:
        raise UserError(f"'{path}' has a header and no rows; a run table has a row a run")
    if any(name is not None for name in frame.index.names):
        # parquet keeps an index apart from the columns; it may be one that we need
        frame = frame.reset_index()
    frame.columns = [str(name).strip() for name in frame.columns]
    return Rows(str(path), frame.reset_index(drop=True), "row" if parquet else "line")


def _read_csv(path: Path) -> pd.DataFrame:
    """Without pandas's guess that a surplus field is an index, which would shift every column by one."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            # in one piece, for a column has one type
            return pd.read_csv(path, index_col=False, skipinitialspace=True, low_memory=False)
        except pd.errors.ParserWarning:
            raise UserError(
                f"'{path}' has rows with more fields than its header; give each column a name"
            ) from None
