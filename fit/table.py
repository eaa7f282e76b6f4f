"""Read a run table, name its columns, refuse what can't be fitted, and say why."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

NAMES: dict[str, tuple[str, ...]] = {
    "flops": ("flops", "C", "compute", "total_flops", "train_flops", "training_flops"),
    "params": ("params", "N", "parameters", "n_params", "num_params", "model_size"),
    "tokens": ("tokens", "D", "n_tokens", "num_tokens", "train_tokens", "training_tokens"),
    "loss": ("loss", "val_loss", "validation_loss", "eval_loss", "final_loss"),
}
"""Names that a column goes by where it is not mapped, the contract's own first."""
SIZE_COLUMNS = ("flops", "params", "tokens")
CLUSTER_GAP = 0.15
"""Runs whose FLOPs lie further apart than this, in natural log, belong to two budgets."""
CLUSTER_SPAN = 2.0
"""Runs of one budget spend within this factor of each other; a cluster that is wider is no budget."""
LARGEST = 1e100
"""Numbers past this, or below its inverse, would overflow where they are squared."""
PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class SetAside:
    """A run that is not fitted, and why."""

    run_id: str
    reason: str


@dataclass(frozen=True)
class RunTable:
    """Contract 1 as arrays, one entry a run that can be fitted."""

    source: str
    budget: np.ndarray
    """Nominal FLOPs; runs of one budget share the very same number."""
    flops: np.ndarray
    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    """Nats a token."""
    run_id: np.ndarray
    params_under: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Params under each convention that the table has a `params_*` column for, by its name: all, no_embedding, body."""
    params_convention: str | None = None
    """Which of these `params` is; None where the table does not say."""
    flops_convention: str | None = None
    """Which of the `flops_*` columns `flops` is: exact, 6nd; None where the table does not say."""
    notes: tuple[str, ...] = ()
    """What was derived or found rather than read."""
    set_aside: tuple[SetAside, ...] = ()
    optional: Mapping[str, np.ndarray] = field(default_factory=dict)
    flops_under: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def budgets(self) -> np.ndarray:
        """(k,) the nominal budgets, ascending."""
        return np.unique(self.budget)


def load_runs(source: str | Path, columns: Mapping[str, str] | None = None) -> RunTable:
    """The runs of a CSV or parquet file, or of a sweep's folder (its runs.csv).

    `columns` maps `flops`, `params`, `tokens`, `loss` or `budget` to a column of another name. One of the first three
    may be missing: it follows from C = 6·N·D (Kaplan et al., arXiv 2001.08361, eq. 2.1), and a note says so. Without a
    `budget` column, budgets are the clusters of log FLOPs. Rows whose `status` is not "finished" are set aside.
    Columns `params_*` and `flops_*`, one a convention, are read where they are there.
    UserError names the file, the row and the column of whatever can't be used.
    """
    path = table_file(source)
    frame = _read(path)
    names = _find_columns(frame, columns or {}, path)
    kept, set_aside = _part_failed(frame)
    if kept.empty:
        statuses = ", ".join(sorted(map(str, frame["status"].unique())))
        raise UserError(
            f"'{path}' has no finished runs: it holds {len(frame)} rows of status {statuses}, where "
            f"'finished' is expected"
        )
    values: dict[str, Any] = {name: _numbers(kept, column, path) for name, column in names.items()}
    notes = _derive(values)
    if "budget" not in values:
        values["budget"] = cluster_budgets(values["flops"])
        _require_budgets(values["budget"], values["flops"], path)
        notes.append(
            f"no budget column: {len(np.unique(values['budget']))} budgets found as clusters of log FLOPs"
        )
    run_id = kept["run_id"].astype(str) if "run_id" in kept else [f"row {i + 2}" for i in kept.index]
    params_under = _conventions(kept, "params")
    return RunTable(
        source=str(source),
        **{name: values[name] for name in ("budget", "flops", "params", "tokens", "loss")},
        run_id=np.asarray(run_id, dtype=str),
        params_under=params_under,
        params_convention=_named_as(values["params"], params_under),
        flops_convention=_named_as(values["flops"], _conventions(kept, "flops")),
        notes=tuple(notes),
        set_aside=tuple(set_aside),
    )


def cluster_budgets(flops: np.ndarray) -> np.ndarray:
    """(n,) the budget of each run: the geometric mean of its cluster, clusters parted by gaps in log FLOPs."""
    order = np.argsort(flops, kind="stable")
    gaps = np.diff(np.log(flops[order])) > CLUSTER_GAP
    labels = np.concatenate([[0], np.cumsum(gaps)])
    budget = np.empty_like(flops)
    for label in range(labels[-1] + 1):
        members = order[labels == label]
        same = np.ptp(flops[members]) == 0
        budget[members] = flops[members][0] if same else np.exp(np.mean(np.log(flops[members])))
    return budget


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


def _read(path: Path) -> pd.DataFrame:
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
    return frame.reset_index(drop=True)


def _read_csv(path: Path) -> pd.DataFrame:
    """Without pandas's guess that a surplus field is an index, which would shift every column by one."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(path, index_col=False, skipinitialspace=True)
        except pd.errors.ParserWarning:
            raise UserError(
                f"'{path}' has rows with more fields than its header; give each column a name"
            ) from None


def _find_columns(frame: pd.DataFrame, mapped: Mapping[str, str], path: Path) -> dict[str, str]:
    """Our name -> the table's."""
    there = list(frame.columns)
    for ours, theirs in mapped.items():
        if ours not in (*NAMES, "budget"):
            raise UserError(f"--column {ours}={theirs}: '{ours}' is none of {', '.join(NAMES)}, budget")
        if theirs not in there:
            raise UserError(
                f"'{path}' has no column '{theirs}'; its columns are {', '.join(map(str, there))}"
            )
    found = dict(mapped)
    for ours, aliases in NAMES.items():
        if ours not in found and (match := next((name for name in aliases if name in there), None)):
            found[ours] = match
    if "budget" not in found and "budget" in there:
        found["budget"] = "budget"
    for name, theirs in found.items():
        if there.count(theirs) > 1 or f"{theirs}.1" in there:  # pandas's name for a CSV's second
            raise UserError(f"'{path}' has two columns '{theirs}'; remove or rename one")
        for other in found:
            if other != name and found[other] == theirs:
                raise UserError(
                    f"'{path}' column '{theirs}' is taken for both {name} and {other}; map each to a column of its own"
                )
    if "loss" not in found or sum(name in found for name in SIZE_COLUMNS) < 2:
        raise UserError(
            f"'{path}' lacks columns: needed are loss and two of flops, params and tokens, found are "
            f"{', '.join(map(str, there))}; map others with --column, as in --column tokens=D"
        )
    return found


def _part_failed(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[SetAside]]:
    if "status" not in frame:
        return frame, []
    failed = frame[frame["status"] != "finished"]
    reasons = []
    for index, row in failed.iterrows():
        reason = row.get("status_reason")
        status = row["status"] if isinstance(row["status"], str) else "missing"
        text = f"status {status}" + (f": {reason}" if isinstance(reason, str) and reason else "")
        reasons.append(SetAside(str(row.get("run_id", f"row {int(str(index)) + 2}")), text))
    return frame.drop(failed.index), reasons


def _numbers(frame: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """The column as floats. UserError where one is missing, no number, infinite, zero, negative or beyond LARGEST."""
    values = _floats(frame, column)
    bad = ~_usable(values)
    if bad.any():
        first = int(np.argmax(bad))
        row = int(str(frame.index[first])) + 2  # counted as an editor does: the header is line 1
        raise UserError(
            f"'{path}' line {row}: {column} is {_shown(frame[column].iloc[first])}, where a positive number "
            f"below {LARGEST:.0e} is expected; "
            f"mend or remove the row ({int(bad.sum())} such in this column)"
        )
    return values


def _floats(frame: pd.DataFrame, column: str) -> np.ndarray:
    """(n,) NaN for what is no number; dates, booleans and lists are none."""
    import pandas as pd

    series = frame[column]
    if pd.api.types.is_bool_dtype(series) or pd.api.types.is_datetime64_any_dtype(series):
        return np.full(len(series), np.nan)
    try:
        return np.asarray(pd.to_numeric(series, errors="coerce").to_numpy(dtype=float, na_value=np.nan))
    except (TypeError, ValueError):
        return np.full(len(series), np.nan)


def _usable(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values) & (values > 1 / LARGEST) & (values < LARGEST)


def _conventions(frame: pd.DataFrame, prefix: str) -> dict[str, np.ndarray]:
    """Columns `prefix_NAME` by NAME; one that is not all positive numbers is no count and is passed over."""
    columns = {
        name.removeprefix(f"{prefix}_"): _floats(frame, name)
        for name in frame.columns
        if name.startswith(f"{prefix}_")
    }
    return {name: values for name, values in columns.items() if _usable(values).all()}


def _named_as(values: np.ndarray, conventions: Mapping[str, np.ndarray]) -> str | None:
    return next((name for name, column in conventions.items() if np.array_equal(column, values)), None)


def _require_budgets(budget: np.ndarray, flops: np.ndarray, path: Path) -> None:
    """UserError where FLOPs run on without gaps, so that clusters are no budgets."""
    for one in np.unique(budget):
        low, high = flops[budget == one].min(), flops[budget == one].max()
        if high > CLUSTER_SPAN * low:
            raise UserError(
                f"'{path}' has no budget column, and its FLOPs run from {low:.3g} to {high:.3g} without a gap, so that "
                f"no budgets can be told apart; add a budget column, or name it with --column budget=NAME"
            )


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def _derive(values: dict[str, np.ndarray]) -> list[str]:
    """Fill in the one of flops, params, tokens that is missing; a note for it."""
    missing = next((name for name in SIZE_COLUMNS if name not in values), None)
    if missing is None:
        return []
    if missing == "flops":
        values["flops"] = 6 * values["params"] * values["tokens"]
    else:
        other = "tokens" if missing == "params" else "params"
        values[missing] = values["flops"] / (6 * values[other])
    return [f"{missing} derived from C = 6*N*D: not in the table"]
