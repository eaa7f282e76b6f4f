"""The whole experiment: plan, skip what is done, launch the rest, read the run table, fit, report."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.isoflop import IsoflopFit, fit_isoflop
from fit.report.figures import draw_isoflop
from fit.report.summary import render
from fit.result import fit_to_dict, write_fit
from fit.table import load_runs
from scaling_runs.config import Config
from scaling_runs.files import write_json, write_text
from scaling_runs.monitor import watching
from scaling_runs.plan import Cell, Plan
from scaling_runs.planning import make_plan
from scaling_runs.report import duration, print_plan, print_problems, say, totals, what_differs
from scaling_runs.runtime import from_rank_0, join_ranks, rank, require_even_shares, wait_for_ranks
from scaling_runs.store import Store
from scaling_runs.tracking import sync_command, track_sweep

Launch = Callable[[Sequence[str]], Sequence[BaseException | None]]
"""Trains the cells of these ids; what went wrong with each, or None."""
WORKER_DEATHS = 2
"""A cell that was in the works this often when a worker died is taken to have killed it."""


def run_sweep(config: Config, arguments: Sequence[str], launch: Launch) -> None:
    """`python launch.py sweep=NAME`. Exits with 1 where cells failed; what could be fitted is reported all the same."""
    if config.sweep is None:
        raise UserError("a sweep needs a grid; give sweep=NAME")
    _refuse_lists(arguments)
    started = time.monotonic()
    join_ranks()
    timed = make_plan(config)
    plan, store = timed.plan, Store(Path(config.store))
    if config.dry_run:
        print_plan(timed, config)
        return
    for cell in plan.cells:
        require_even_shares(cell.spec)
    say(totals(timed))
    if plan.problems:
        print_problems(timed)
    if rank() == 0:
        for cell in plan.cells:
            store.add(cell.spec)
    wait_for_ranks()
    with watching(store, plan.cells):
        train_all(store, _longest_first(plan, timed.estimate.cell_s), launch)
    if rank() == 0:
        failed = conclude(config, plan, store, wall_s=time.monotonic() - started)
        if failed:
            sys.exit(1)


def train_all(store: Store, cells: Sequence[Cell], launch: Launch) -> None:
    """Launch what is not finished; where a worker dies, launch what it left, less a cell that keeps killing workers."""
    deaths: Counter[str] = Counter()
    gone: set[str] = set()
    while True:
        todo = from_rank_0(
            [c.cell_id for c in cells if store.cell(c.cell_id).result() is None and c.cell_id not in gone]
        )
        assert isinstance(todo, list)
        if not todo:
            return
        try:
            for cell_id, error in zip(todo, launch(todo), strict=True):
                if error is not None and store.cell(cell_id).failure() is None and rank() == 0:
                    store.cell(cell_id).write_failure(str(error) or type(error).__name__)
            return
        except Exception as error:  # each launcher has its own way to say that a worker died
            running = [cell_id for cell_id in todo if store.cell(cell_id).status() == "running"]
            if not running:
                raise
            deaths.update(running)
            for cell_id in running:
                if deaths[cell_id] >= WORKER_DEATHS:
                    gone.add(cell_id)
                    store.cell(cell_id).write_failure(
                        f"its worker process died {WORKER_DEATHS} times ({error})"
                    )
            gone |= {cell_id for cell_id in todo if store.cell(cell_id).failure() is not None}


def conclude(config: Config, plan: Plan, store: Store, wall_s: float) -> list[str]:
    """Write the run table, the fit and the figure, print the report; the ids of cells that failed."""
    folder = store.sweep_folder(plan.name)
    table, fit_json, figure = folder / "runs.csv", folder / "fit.json", folder / "isoflop.png"
    rows = table_rows(plan, store)
    write_text(table, to_csv(rows))
    failed = [row for row in rows if row["status"] != "finished"]
    try:
        fit = fit_isoflop(load_runs(table))
    except UserError as error:
        say(f"\nno fit: {error}")
        fit_json.unlink(missing_ok=True)
        figure.unlink(missing_ok=True)
        summary: dict[str, Any] = {}
    else:
        write_fit(fit, fit_json)
        draw_isoflop(fit, figure)
        text = render(fit) + "\n\n" + what_differs(config, plan, fit)
        write_text(folder / "summary.txt", text + "\n")
        say("\n" + text)
        summary = _headline(fit)
    track_sweep(config, table, fit_json, figure, summary)
    for row in failed:
        say(f"failed: cell {row['run_id']} ({row['status_reason']}); it is tried again on the next run")
    training_s = sum(row["wall_s"] or 0 for row in rows)
    write_json(folder / "sweep.json", {"wall_s": wall_s, "training_s": training_s, "flops": plan.flops})
    say(f"\n{duration(wall_s)} for this run, {duration(training_s)} of training in all cells")
    say("files: " + ", ".join(str(path) for path in (table, fit_json, figure) if path.exists()))
    if (command := sync_command(config)) is not None:
        say(f"to see the curves on W&B: {command}")
    return [str(row["run_id"]) for row in failed]


def table_rows(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Contract 1: a row a cell of the plan, failed ones with their reason, in an order that equal runs share."""
    rows = []
    for cell in plan.cells:
        folder = store.cell(cell.cell_id)
        result = folder.result()
        if result is None:
            spec = cell.spec
            result = {
                "run_id": cell.cell_id,
                "params": cell.params,
                "tokens": spec.tokens,
                "flops": spec.flops,
                "seed": spec.seed,
                "width": spec.shape.width,
                "wall_s": None,
                "status": "failed",
                "status_reason": folder.failure() or "it was not trained",
            }
        rows.append({"budget": cell.budget, "status_reason": "", **result})
    return sorted(rows, key=lambda row: (row["budget"], row["width"], row["seed"]))


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Floats are written in full, so that nothing is lost on the way to the fit."""
    columns = max((list(row) for row in rows), key=len)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _headline(fit: IsoflopFit) -> dict[str, Any]:
    laws = fit_to_dict(fit)["laws"]
    return {
        f"{axis}_{key}": laws[axis][key] for axis in laws if laws[axis] for key in ("exponent", "coefficient")
    }


def _longest_first(plan: Plan, cell_s: dict[str, float]) -> list[Cell]:
    """So that the last cells to end are short ones, and no core waits long for another."""
    return sorted(plan.cells, key=lambda cell: -cell_s[cell.cell_id])


def _refuse_lists(arguments: Sequence[str]) -> None:
    """Hydra's own sweeps (`model.head_width=8,16`) would be taken for one value here."""
    for argument in arguments:
        value = argument.partition("=")[2]
        if "," in value and not value.startswith(("[", "{", "'", '"')):
            raise UserError(
                f"'{argument}' lists several values; a sweep takes one value an option: run it once for each"
            )
