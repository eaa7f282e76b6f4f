"""Of a cell that was trained under several learning rates or batches the best counts: valleys are of tuned losses.

A mean over learning rates lies above what each size can reach, and their spread is no seed noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fit.aside import SetAside
from fit.table import RunTable
from fit.valley import SAME_SIZE

SWEPT = ("lr", "batch_tokens")
SAME = 1e-6
"""Params, learning rates and batches that lie closer than this, in natural log, are one."""
UNSAID = -1e6
"""Stands for the logarithm of a setting that a run does not say."""


def tuned(table: RunTable) -> RunTable:
    """`table` less the runs that another setting of SWEPT beats in their cell; these are set aside by name.

    A cell is what shares budget, params and tokens. Seeds of one setting are averaged, and those of the best all stay.
    Not to say a setting is one more, for a run that says nothing of its rate is no repeat of one that does.
    """
    settings = {name: table.optional[name] for name in SWEPT if name in table.optional}
    if not settings:
        return table
    cell = _numbered(
        np.unique(table.budget, return_inverse=True)[1],
        _alike(np.log(table.params), SAME),
        _alike(np.log(table.tokens), SAME_SIZE),  # batches round them
    )
    groups = {name: _alike(_logs(values), SAME) for name, values in settings.items()}
    setting = _numbered(cell, *groups.values())
    if setting.max() == cell.max():  # one setting a cell
        return table
    best = _best(cell, setting, table.loss)[cell]
    first = np.unique(setting, return_index=True)[1]
    differs = {name: group != group[first[best]] for name, group in groups.items()}
    beaten = np.flatnonzero(setting != best)
    aside = tuple(
        SetAside(str(table.run_id[i]), _reason([name for name in groups if differs[name][i]]), "untuned")
        for i in beaten
    )
    kept = np.setdiff1d(np.arange(len(table)), beaten)
    note = (
        f"{len(aside)} runs differ from a better one of their budget, params and tokens in "
        f"{' or '.join(name for name in groups if differs[name].any())} alone and are set aside"
    )
    return replace(_rows(table, kept), set_aside=(*table.set_aside, *aside), notes=(*table.notes, note))


def _logs(values: np.ndarray) -> np.ndarray:
    """(n,) far below all others where there is no positive number."""
    said = values > 0
    return np.where(said, np.log(np.where(said, values, 1.0)), UNSAID)


def _reason(names: list[str]) -> str:
    return f"another {' and '.join(names)} gives the same budget, params and tokens a lower loss"


def _best(cell: np.ndarray, setting: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """(cells,) the setting of the lowest mean loss of each, of (n,) runs."""
    means = np.bincount(setting, weights=loss) / np.bincount(setting)
    settings, first = np.unique(setting, return_index=True)
    order = np.lexsort((means, cell[first]))
    starts = np.unique(cell[first][order], return_index=True)[1]
    return np.asarray(settings[order[starts]])


def _alike(logs: np.ndarray, reach: float) -> np.ndarray:
    """(n,) a number for each group of values; a group reaches no further than `reach` from its smallest."""
    values, place = np.unique(logs, return_inverse=True)
    starts, at = np.zeros(len(values), dtype=int), 0
    while at < len(values):
        starts[at] = 1
        at = int(np.searchsorted(values, values[at] + reach, side="right"))
    return np.asarray(np.cumsum(starts)[place] - 1)


def _numbered(*keys: np.ndarray) -> np.ndarray:
    """(n,) a number for each different row of (n,) keys."""
    return np.asarray(np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)[1].ravel())


def _rows(table: RunTable, kept: np.ndarray) -> RunTable:
    def of(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: values[kept] for name, values in columns.items()}

    return replace(
        table,
        budget=table.budget[kept],
        flops=table.flops[kept],
        params=table.params[kept],
        tokens=table.tokens[kept],
        loss=table.loss[kept],
        run_id=table.run_id[kept],
        params_under=of(table.params_under),
        flops_under=of(table.flops_under),
        optional=of(table.optional),
    )
