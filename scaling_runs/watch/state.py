"""How a sweep stands, as the JSON that its live page draws. Reads the store alone."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fit.report.html.charts import Chart, parabola_traces, run_trace, valleys_layout
from fit.table import RunTable
from fit.valley import AXES, Axis, fit_valley
from scaling_runs.outages import impatient
from scaling_runs.slurm.standing import slurm_lines
from scaling_runs.status import Standing, at_once, found_sweep, open_cells, seconds_left, standings
from scaling_runs.store import CellFolder, Store
from scaling_runs.sweep_record import PlannedCell

MIDDLE = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
MAX_LOOK_SHARE = 0.05
"""Of the time: a look at thousands of cells, or at a store far away, takes long and is taken seldomer."""
LOOK_EVERY_S = 1.0
SLURM_EVERY_S = 15.0
LOCK_EVERY_S = 20.0
"""Whether a process has a cell is asked by taking its lock for a moment, in which that process could not."""


@dataclass(frozen=True)
class Point:
    """What never changes of a cell: its sizes, under its own way of counting, and once it is finished its loss."""

    params: int
    tokens: int
    loss: float | None


@dataclass
class SweepView:
    """One sweep, looked at again and again; what can't change any more is read once."""

    sweep: str
    store: str
    points: dict[str, Point] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    next_look: float = -math.inf
    slurm: tuple[float, list[str]] = (-math.inf, [])
    locks: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """When the lock of a cell was last asked, and whether it was held."""

    def state(self) -> dict[str, Any]:
        """As of now, or of a moment ago where a look takes long. UserError where the sweep is not in the store."""
        if time.monotonic() >= self.next_look:
            started = time.monotonic()
            with impatient():  # whoever looks is told that the store is away, and asks again
                self.shown = self._look()
            took_s = time.monotonic() - started
            self.next_look = time.monotonic() + max(LOOK_EVERY_S, took_s / MAX_LOOK_SHARE)
        return self.shown

    def _look(self) -> dict[str, Any]:
        root, cells = found_sweep(self.sweep, self.store)
        found = standings(root, cells, self._busy)
        points = {one.cell.cell_id: self._point(root, one) for one in found}
        counts = Counter(one.status for one in found)
        flops = sum(one.cell.flops for one in found)
        folder = root.sweep_folder(self.sweep)
        budgets = [
            _budget(budget, [one for one in found if one.cell.budget == budget], points)
            for budget in sorted({one.cell.budget for one in found})
        ]
        whole = counts["finished"] == len(found)
        return {
            "sweep": self.sweep,
            "store": self.store,
            "counts": {status: counts[status] for status in ("finished", "running", "waiting", "failed")},
            "cells": len(found),
            "flops": flops,
            "share": sum(one.share * one.cell.flops for one in found) / flops,
            "left_s": seconds_left(found),
            "at_once": at_once(found),
            "budgets": budgets,
            "charts": {axis: _chart(budgets, axis) for axis in AXES},
            "slurm": self._slurm(root, found),
            "concluded": whole and (folder / "fit.json").exists(),
        }

    def _busy(self, folder: CellFolder) -> bool:
        asked, busy = self.locks.get(folder.path.name, (-math.inf, False))
        if time.monotonic() >= asked + LOCK_EVERY_S:
            busy = folder.busy()
            self.locks[folder.path.name] = time.monotonic(), busy
        return busy

    def _point(self, root: Store, one: Standing) -> Point:
        known = self.points.get(one.cell.cell_id)
        if known is not None and (known.loss is not None or one.status != "finished"):
            return known
        cell = root.cell(one.cell.cell_id)
        spec, result = cell.spec(), cell.result() if one.status == "finished" else None
        loss = None if result is None else float(result["loss"])
        self.points[one.cell.cell_id] = Point(spec.params, spec.tokens, loss)
        return self.points[one.cell.cell_id]

    def _slurm(self, root: Store, found: Sequence[Standing]) -> list[str]:
        asked, lines = self.slurm
        if time.monotonic() >= asked + SLURM_EVERY_S:
            told = slurm_lines(root.sweep_folder(self.sweep), open_cells(found))
            lines = [line.strip() for line in told]
            self.slurm = time.monotonic(), lines
        return lines


def _budget(budget: float, found: Sequence[Standing], points: dict[str, Point]) -> dict[str, Any]:
    """Its cells. A second one of a shape and seed is an audit's, with another rate or batch."""
    cells, seen = [], set()
    for one in found:
        kind = one.cell.shape, one.cell.seed
        cells.append(_cell(one, points[one.cell.cell_id]) | {"audit": kind in seen})
        seen.add(kind)
    return {"flops": budget, "cells": cells}


def _cell(one: Standing, point: Point) -> dict[str, Any]:
    cell: PlannedCell = one.cell
    return {
        "id": cell.cell_id,
        "shape": cell.shape,
        "seed": cell.seed,
        "params": point.params,
        "tokens": point.tokens,
        "loss": point.loss,
        "status": one.status,
        "share": one.share,
        "reason": one.reason,
        "again": one.again.removeprefix(", "),
    }


def _chart(budgets: Sequence[dict[str, Any]], axis: Axis) -> Chart:
    """Valleys as the report draws them, of what is finished: an audit's cells are hollow, and bend none."""
    traces: list[dict[str, Any]] = []
    for place, budget in enumerate(budgets):
        done = [cell for cell in budget["cells"] if cell["loss"] is not None]
        own = _table(budget["flops"], [cell for cell in done if not cell["audit"]])
        audit = _table(budget["flops"], [cell for cell in done if cell["audit"]])
        if len(own):
            traces.append(run_trace(own, budget["flops"], axis, place))
            traces += parabola_traces(fit_valley(own, budget["flops"], axis), None, place)
        if len(audit):
            hollow = {"marker": {"size": 8, "symbol": "circle-open"}, "showlegend": False}
            traces.append(run_trace(audit, budget["flops"], axis, place) | hollow)
    layout = valleys_layout(axis)
    sizes = np.log10([cell[axis] for budget in budgets for cell in budget["cells"]])
    room = 0.04 * float(np.ptp(sizes)) + 0.02
    layout["xaxis"]["range"] = [float(sizes.min()) - room, float(sizes.max()) + room]
    if not traces:
        layout["yaxis"]["showticklabels"] = False
        layout["annotations"] = [{"text": "no cell has finished yet", "showarrow": False} | MIDDLE]
    return {"data": traces, "layout": layout}


def _table(budget: float, cells: Sequence[dict[str, Any]]) -> RunTable:
    """Finished cells of a budget, as the fit has them."""
    params, tokens, loss = (
        np.array([float(cell[name]) for cell in cells]) for name in ("params", "tokens", "loss")
    )
    same = np.full(len(cells), budget)
    return RunTable("live", same, same, params, tokens, loss, np.array([cell["id"] for cell in cells]))
