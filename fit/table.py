"""Read a run table, name its columns, refuse what can't be fitted, and say why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    notes: tuple[str, ...] = ()
    """What was derived or found rather than read."""
    set_aside: tuple[SetAside, ...] = ()

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
    UserError names the file, the row and the column of whatever can't be used.
    """
    path = _file_of(Path(source))
    frame = _read(path)
    names = _find_columns(frame, columns or {}, path)
    kept, set_aside = _part_failed(frame)
    if kept.empty:
        raise UserError(
            f"'{path}' has no finished runs; it holds {len(frame)} rows, none of which can be fitted"
        )
    values = {name: _numbers(kept, column, path) for name, column in names.items()}
    notes = _derive(values)
    if "budget" not in values:
        values["budget"] = cluster_budgets(values["flops"])
        notes.append(
            f"no budget column: {len(np.unique(values['budget']))} budgets found as clusters of log FLOPs"
        )
    run_id = kept["run_id"].astype(str) if "run_id" in kept else [f"row {i + 2}" for i in kept.index]
    return RunTable(
        source=str(source),
        **{name: values[name] for name in ("budget", "flops", "params", "tokens", "loss")},
        run_id=np.asarray(run_id, dtype=str),
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


def _file_of(path: Path) -> Path:
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

    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except pd.errors.EmptyDataError:
        raise UserError(f"'{path}' is empty; a run table has a header and a row a run") from None
    except Exception as error:  # pandas and pyarrow each raise their own
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"'{path}' can't be read as {path.suffix[1:] or 'CSV'}: {what}") from None
    if frame.empty:
        raise UserError(f"'{path}' has a header and no rows; a run table has a row a run")
    return frame


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
        text = f"status {row['status']}" + (f": {reason}" if isinstance(reason, str) and reason else "")
        reasons.append(SetAside(str(row.get("run_id", f"row {int(str(index)) + 2}")), text))
    return frame.drop(failed.index), reasons


def _numbers(frame: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """The column as floats. UserError where one is missing, no number, infinite, zero or negative."""
    import pandas as pd

    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float)
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        first = int(np.argmax(bad))
        row = int(str(frame.index[first])) + 2  # counted as an editor does: the header is line 1
        raise UserError(
            f"'{path}' line {row}: {column} is {_shown(frame[column].iloc[first])}, where a positive number is expected; "
            f"mend or remove the row ({int(bad.sum())} such in this column)"
        )
    return values


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
