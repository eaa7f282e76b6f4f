"""Learning curves: validation loss along each run, of a sweep's cells or of a table of records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fit.columns import derive, find_columns, floats, run_numbers
from fit.errors import UserError
from fit.sources import is_url, local_name, read_source
from fit.sources.files import read_file, table_file
from fit.sources.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

PROBE, FINAL = "val_loss_probe", "val_loss"
"""Losses in a cell's records: on a part of the validation set, at each evaluation; on all of it, at the end."""

MAPPED_BY = "--curves-column"
"""The option that names a curve's columns, which may go by other names than those of the run table."""


@dataclass(frozen=True)
class Curve:
    """One run along its way."""

    run_id: str
    params: float
    flops: np.ndarray
    """(m,) spent so far, ascending."""
    tokens: np.ndarray
    """(m,) trained on so far."""
    loss: np.ndarray
    """(m,) nats a token, on the same validation text at every point."""


def load_curves(source: str | Path, columns: Mapping[str, str] | None = None) -> tuple[Curve, ...]:
    """The curves of a sweep's folder, or of a source of `fit.sources` with one row a (run, step).

    A sweep's folder, here or at a URL: its runs.csv names the cells, whose metrics.jsonl lie in `cells` beside the
    folder. There the loss is that on a part of the validation set, which every evaluation has; the final loss on all
    of it is on another set of windows and would bend the curve. A cell that failed has a curve as far as it came, if
    at all.

    A table: columns `run_id`, `loss` and two of `flops`, `params` and `tokens`, mapped by `columns` and with the third
    derived as in `load_runs`. Records without a loss are no evaluations and are passed over, and with them a run that
    has no other. UserError where nothing is left, or a value can't be used.
    """
    rows = _records(local_name(source))
    found = find_columns(rows, columns or {}, MAPPED_BY)
    if "run_id" not in found:
        raise UserError(
            f"'{rows.name}' has no column run_id, which tells curves apart; map one with {MAPPED_BY} run_id=NAME"
        )
    kept = np.flatnonzero(
        (rows.frame[found["loss"]].notna() & rows.frame[found["run_id"]].notna()).to_numpy()
    )
    if not len(kept):
        raise UserError(
            f"'{rows.name}' has no record with a loss; a curve needs validation losses on the way"
        )
    values = run_numbers(rows, {name: column for name, column in found.items() if name != "budget"}, kept)
    derive(values, rows, kept)
    ids = rows.frame[found["run_id"]].iloc[kept].astype(str).to_numpy(dtype=object)
    return tuple(_curve(str(run_id), values, ids == run_id) for run_id in dict.fromkeys(ids))


def _curve(run_id: str, values: Mapping[str, np.ndarray], chosen: np.ndarray) -> Curve:
    """Of records with the same FLOPs, as a run that was resumed has, the last."""
    flops = values["flops"][chosen]
    last = len(flops) - 1 - np.unique(flops[::-1], return_index=True)[1]
    return Curve(
        run_id,
        float(np.median(values["params"][chosen])),
        flops[last],
        values["tokens"][chosen][last],
        values["loss"][chosen][last],
    )


def cells_folder(source: str | Path) -> Path | None:
    """Where the records of a sweep's cells lie; None where `source` is no folder of this machine."""
    text = local_name(source)
    return Path(text).parent / "cells" if text and Path(text).is_dir() else None


def _records(source: str) -> Rows:
    """A row a record, of a table or of a sweep's cells."""
    if is_url(source):
        from fit.sources.urls import find, read_table

        found = find(source)
        table = read_table(found)
        if not found.is_folder:
            return table
        return _cell_records(
            found.url, table, f"{found.url}/../cells", lambda name: found.read(f"../cells/{name}")
        )
    cells = cells_folder(source)
    if cells is None:
        return read_source(source)
    table = read_file(table_file(source))
    return _cell_records(source, table, str(cells), lambda name: (cells / name).read_bytes())


def _cell_records(folder: str, table: Rows, cells: str, read: Callable[[str], bytes]) -> Rows:
    """A row an evaluation of a cell of the sweep; `read` gives a file of `cells`, where their folders lie."""
    import pandas as pd

    for column in ("run_id", "params"):
        if column not in table.frame:
            raise UserError(
                f"'{table.name}' has no column {column}, by which a sweep's cells are found; train it again"
            )
    params = floats(table.frame, "params")
    records = [
        {"run_id": str(run_id), "params": size, **record}
        for run_id, size in zip(table.frame["run_id"], params, strict=True)
        for record in _evaluations(cells, f"{run_id}/metrics.jsonl", read)
    ]
    if not records:
        raise UserError(
            f"no cell of '{folder}' has a record of validation losses in '{cells}'; give the folder where the sweep "
            f"was trained"
        )
    frame: pd.DataFrame = pd.DataFrame(records)
    return Rows(folder, frame, "run")


def _evaluations(cells: str, file: str, read: Callable[[str], bytes]) -> list[dict[str, Any]]:
    """Less a last line that a kill cut short; none without the file."""
    try:
        lines = read(file).decode().split("\n")[:-1]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            losses = {name: record[name] for name in (PROBE, FINAL) if name in record}
            if losses:
                place = {name: record[name] for name in ("flops", "tokens")}
                found.append(place | losses)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"'{cells}/{file}' line {number} is no record of a cell ({type(error).__name__}: {error}); train the "
                f"cell again"
            ) from None
    name = PROBE if any(PROBE in record for record in found) else FINAL
    return [
        {"flops": record["flops"], "tokens": record["tokens"], "loss": record[name]}
        for record in found
        if name in record
    ]
