"""The end of a sweep: its run table, the fit, the figure, the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fit.curves import Curve, load_curves
from fit.errors import UserError
from fit.isoflop import IsoflopFit, fit_isoflop
from fit.report.figures import draw_isoflop
from fit.report.html.page import Extra, write_report
from fit.report.summary import render
from fit.report.target import render_target
from fit.result import fit_to_dict, write_fit
from fit.shape import load_sizes
from fit.table import load_runs
from scaling_runs.adaptive.rounds import decisions_text
from scaling_runs.config import Config
from scaling_runs.files import write_json, write_text
from scaling_runs.keeping import whole_models
from scaling_runs.numbers import duration
from scaling_runs.places import is_local
from scaling_runs.plan import Plan
from scaling_runs.report import say, what_differs
from scaling_runs.store import CellFolder, Store
from scaling_runs.tracking import sync_command, track_sweep

LADDER = "model.yaml"
"""Of a sweep whose options have made another ladder of a named one: what `python -m fit advise --model` reads."""


@dataclass(frozen=True)
class Launched:
    """Cells that were handed to the launcher."""

    planned_s: float
    """By the plan's estimate."""
    took_s: float
    """From their launch to the end of the last."""


def conclude(
    config: Config,
    plan: Plan,
    store: Store,
    folder: Path,
    wall_s: float,
    launches: Sequence[Launched] = (),
) -> bool:
    """Write the run table, the fit and the figure, print the report; whether nothing is missing from it.

    folder: the sweep's, or the local one that stands for it. wall_s, launches: of this run.
    """
    names = ("runs.csv", "fit.json", "isoflop.png", "summary.txt", "report.html")
    table, fit_json, figure, report, page = (folder / name for name in names)
    home = store.sweep_folder(plan.name)
    rows = table_rows(plan, store)
    write_text(table, to_csv(rows))
    failed = [row for row in rows if row["status"] != "finished"]
    for trunk in plan.trunks():
        if all(store.cell(cell.cell_id).finished() for cell in trunk):
            store.trunk(trunk[0].spec).keep_last()
    try:
        runs = replace(load_runs(table), source=str(home / table.name))
        fit = fit_isoflop(runs, predict=_targets(config))
    except UserError as error:
        say(f"\nno fit: {error}")
        for stale in (fit_json, figure, report, page, folder / LADDER):
            stale.unlink(missing_ok=True)
        summary: dict[str, Any] = {}
    else:
        write_fit(fit, fit_json)
        draw_isoflop(fit, figure)
        beside = [what_differs(config, plan, fit), *_closing(config, fit, folder)]
        text = "\n\n".join([render(fit), *beside])
        write_text(report, text + "\n")
        write_report(
            fit,
            page,
            _curves(folder),
            [Extra("Of this sweep", "\n\n".join(beside))],
            str(home / fit_json.name),
            plan.name,
            _ladder_options(config, plan.cells[0].spec.shape.vocab_size, folder, home),
        )
        say("\n" + text)
        summary = _headline(fit, plan)
    models = whole_models(plan, store) if config.tracking.log_models else {}
    track_sweep(config, folder, [cell.cell_id for cell in plan.cells], summary, models)
    for row in failed:
        say(f"failed: cell {row['run_id']} ({row['status_reason']}); it is tried again on the next run")
    _tell_time(folder, rows, plan, wall_s, launches)
    say(
        "files: "
        + ", ".join(
            str(home / path.name) for path in (table, fit_json, figure, report, page) if path.exists()
        )
    )
    if (command := sync_command(config)) is not None:
        say(f"to see the curves on W&B: {command}")
    return not failed and fit_json.exists()


def _ladder_options(config: Config, vocab_size: int, folder: Path, home: Path) -> tuple[str, ...]:
    """How `python -m fit advise` names the sweep's ladder: as configs/model does, else by a file in its folder.

    folder: that of the sweep, or the local one that stands for `home`. Nothing where that is a URL, which is not read.
    """
    model = config.model
    written = folder / LADDER
    written.unlink(missing_ok=True)
    try:
        named = load_sizes(model.name, vocab_size)
        same = (named.ladder, named.seq_len) == (model.ladder(vocab_size), model.seq_len)
    except UserError:
        same = False
    if not same:
        if not is_local(home):
            return ()
        write_text(written, OmegaConf.to_yaml(OmegaConf.structured(replace(model, width=None))))
    name = model.name if same else str(home / written.name)
    return "--model", name, "--vocab", str(vocab_size)


def _curves(folder: Path) -> tuple[Curve, ...]:
    """Of a sweep's cells, for the report; none, and a line that says why, where they are not beside its folder."""
    try:
        return load_curves(str(folder))
    except UserError as error:
        say(f"the report has no learning curves: {error}")
        return ()


def _tell_time(
    folder: Path, rows: Sequence[dict[str, Any]], plan: Plan, wall_s: float, launches: Sequence[Launched]
) -> None:
    """What this run took, beside what was planned where it had cells to train; kept in sweep.json."""
    planned_s, launched_s = sum(one.planned_s for one in launches), sum(one.took_s for one in launches)
    training_s = sum(row["wall_s"] or 0 for row in rows)
    times = {"wall_s": wall_s, "planned_s": planned_s, "launched_s": launched_s, "training_s": training_s}
    write_json(folder / "sweep.json", times | {"flops": plan.flops})
    compared = ""
    if planned_s:
        compared = (
            f"cells planned to take {duration(planned_s)} took {duration(launched_s)}, "
            f"{launched_s / planned_s - 1:+.0%}; "
        )
    say(f"\n{compared}{duration(wall_s)} for this run, {duration(training_s)} of training in all cells")


def _targets(config: Config) -> list[float]:
    """FLOPs to predict at."""
    return [config.sweep.target] if config.sweep is not None and config.sweep.target is not None else []


def _closing(config: Config, fit: IsoflopFit, folder: Path) -> list[str]:
    """How an adaptive sweep came to its cells, and what to use at the target."""
    adaptive = config.sweep is not None and config.sweep.planner == "adaptive"
    decisions = [decisions_text(folder)] if adaptive else []
    return decisions + [render_target(fit, prediction) for prediction in fit.predictions]


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
                "loss": None,
                "seed": spec.seed,
                "width": spec.shape.width,
                "wall_s": None,
                "status": "failed",
                "status_reason": _why_unfinished(folder),
            }
        rows.append({"budget": cell.budget, **result})
    return sorted(rows, key=lambda row: (row["budget"], row["width"], row["seed"]))


def _why_unfinished(folder: CellFolder) -> str:
    """In one line."""
    busy = f"it is being trained by {folder.holder()}" if folder.busy() else "it was not trained"
    return " ".join((folder.failure() or busy).split())


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Floats are written in full, so that nothing is lost on the way to the fit."""
    longest_first = sorted(rows, key=len, reverse=True)  # a failed row has few columns
    columns = dict.fromkeys(column for row in longest_first for column in row)
    columns["status_reason"] = columns.pop("status_reason", None)  # last, for it may be long
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _headline(fit: IsoflopFit, plan: Plan) -> dict[str, Any]:
    """Of the laws, and what they are of."""
    laws = fit_to_dict(fit)["laws"]
    keys = ("exponent", "exponent_ci95", "coefficient")
    numbers = {f"{axis}_{key}": laws[axis][key] for axis in laws if laws[axis] for key in keys}
    return numbers | {"corpus": plan.cells[0].spec.corpus[:16], "sweep_flops": plan.flops}
