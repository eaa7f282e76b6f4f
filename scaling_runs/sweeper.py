"""The whole experiment: plan, skip what is done, launch the rest, read the run table, fit, report."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.isoflop import IsoflopFit, fit_isoflop
from fit.report.figures import draw_isoflop
from fit.report.summary import render
from fit.report.target import render_target
from fit.result import fit_to_dict, write_fit
from fit.table import load_runs
from scaling_runs.adaptive.cells import settings_of
from scaling_runs.adaptive.rounds import DECISIONS, decisions_text, rule_of, train_rounds
from scaling_runs.apart import split_of, train_apart
from scaling_runs.audit.run import conclude_audit, labelled, make_audit, print_audit, remove_audit
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.errors import RankLost
from scaling_runs.files import write_json, write_text
from scaling_runs.monitor import watching
from scaling_runs.numbers import duration
from scaling_runs.places import ONE_PROCESS, protocol, staged
from scaling_runs.plan import Plan, left_of
from scaling_runs.planning import TimedPlan, make_plan, time_plan
from scaling_runs.report import print_plan, print_problems, say, totals, what_differs
from scaling_runs.runtime import (
    from_rank_0,
    joined_ranks,
    rank,
    require_even_shares,
    wait_for_ranks,
    world_size,
)
from scaling_runs.store import CellBusy, CellFolder, Store
from scaling_runs.sweep_record import write_plan
from scaling_runs.tracking import sync_command, track_sweep

Launch = Callable[[Sequence[str]], Sequence[BaseException | None]]
"""Trains the cells of these ids; what went wrong with each, or None."""
SUSPICIOUS_DEATHS = 2
"""A cell that was in the works this often when a worker died may have killed it."""
MAX_IDLE_DEATHS = 2
"""Where workers die this often before they begin a cell, it is no cell's fault."""


def run_sweep(config: Config, launch: Launch, side_by_side: int = 1) -> None:
    """`python launch.py sweep=NAME`: `launch` trains `side_by_side` cells at once.

    Exits with 1 where a cell failed or no law came out, once all else is reported.
    """
    if config.sweep is None:
        raise UserError("a sweep needs a grid; give sweep=NAME")
    if config.cell is not None:
        raise UserError(
            f"cell={config.cell} is for one cell, and sweep={config.sweep.name} trains all of its own; leave one out"
        )
    if protocol(config.store) == ONE_PROCESS and (side_by_side > 1 or world_size() > 1):
        raise UserError(
            f"store '{config.store}' lives in one process, and cells are trained in others; add hydra/launcher=basic, "
            f"or name a store that all of them see"
        )
    started = time.monotonic()
    with joined_ranks():
        timed = make_plan(config, side_by_side)
        audit = make_audit(config, timed, side_by_side) if config.audit else None
        if config.dry_run:
            print_plan(timed, config)
            if world_size() > 1:
                say(split_of(timed, config).reason)
            if config.sweep.planner == "adaptive":
                say("\n" + rule_of(settings_of(config.sweep)))
            if audit is not None:
                print_audit(audit, config)
            return
        store = Store.at(config.store)
        for cell in audit.timed.plan.cells if audit is not None else ():
            require_even_shares(cell.spec)
        if audit is not None:
            say(audit.cost)
        train = Training(config, store, launch, side_by_side)
        plan = _train_planned(config, timed, store, train)
        if audit is not None:
            say("\nthe audit's cells")
            train(audit.timed)
    if config.detach:
        say(
            f"submitted; python -m scaling_runs status {plan.name} store={config.store} says how it stands, and the "
            f"same command without detach=true waits for the rest and fits"
        )
        return
    if rank() == 0:
        with staged(store.sweep_folder(plan.name)) as folder:
            remove_audit(folder)
            whole = conclude(config, plan, store, folder, wall_s=time.monotonic() - started)
            if audit is not None:
                rows = labelled(audit.audit, table_rows(audit.timed.plan, store))
                write_text(folder / "audit.csv", to_csv(rows))
                whole = conclude_audit(audit.audit, rows, folder) and whole
        if not whole:
            sys.exit(1)


def _train_planned(config: Config, timed: TimedPlan, store: Store, train: Training) -> Plan:
    """The whole grid, or round by round what the adaptive planner decides; all that was to be trained."""
    assert config.sweep is not None
    if config.sweep.planner == "adaptive":
        return train_rounds(config, timed, store, train, train.side_by_side)
    train(timed)
    if rank() == 0:
        (store.sweep_folder(timed.plan.name) / DECISIONS).unlink(missing_ok=True)  # of an adaptive run before
    return timed.plan


@dataclass(frozen=True)
class Training:
    """How a sweep's plans are trained."""

    config: Config
    store: Store
    launch: Launch
    side_by_side: int
    planned: dict[str, Cell] = field(default_factory=dict)
    """All cells so far: of an adaptive sweep's rounds, and of an audit."""
    cell_s: dict[str, float] = field(default_factory=dict)

    def __call__(self, timed: TimedPlan) -> None:
        """Say what is planned, and train what of it is not finished."""
        plan = timed.plan
        for cell in split_of(timed, self.config).together:
            require_even_shares(cell.spec)
        say(totals(timed))
        if plan.problems:
            print_problems(timed)
        if rank() == 0:
            self.store.add_all([cell.spec for cell in plan.cells])
            self.planned.update((cell.cell_id, cell) for cell in plan.cells)
            self.cell_s.update(timed.estimate.cell_s)
            write_plan(self.store.sweep_folder(plan.name), self.planned.values(), self.cell_s)
        wait_for_ranks()
        left = self._left(timed)
        still = {cell.cell_id: cell for cell in left.plan.cells}
        if left.plan.flops < plan.flops:
            say(f"of these {totals(left)} are left")
        with watching(self.store, [still.get(cell.cell_id, cell) for cell in plan.cells]):
            split = split_of(left, self.config)
            if world_size() > 1:
                say(split.reason)
            if split.apart:
                train_apart(self.store, [cell.cell_id for cell in split.apart], self.launch, _record)
            train_all(self.store, split.together, self.launch)

    def _left(self, timed: TimedPlan) -> TimedPlan:
        """What rank 0 finds unfinished, going on from the states of trunks that it finds."""
        cells, store = timed.plan.cells, self.store
        finished = {cell.cell_id for cell in cells if store.cell(cell.cell_id).finished()}
        trunks = {cell.spec.trunk_id: cell.spec for cell in cells if cell.spec.trunk_steps}
        states = {trunk_id: store.trunk(spec).states() for trunk_id, spec in trunks.items()}
        left = from_rank_0(left_of(timed.plan, finished, states))
        assert isinstance(left, Plan)
        return time_plan(left, timed.corpus, self.config, self.side_by_side)


def job_of(arguments: Sequence[str], cell_id: str) -> list[str]:
    """The options that train one cell. Its id is quoted: Hydra reads a bare 582416563e73 as a number."""
    return [*arguments, f"cell='{cell_id}'"]


def train_all(store: Store, cells: Sequence[Cell], launch: Launch) -> None:
    """Launch what is not finished, in this order; where a worker dies, launch what is left of it.

    A worker that dies takes its neighbours along, and none says whose fault it was: a cell that was in the works at
    `SUSPICIOUS_DEATHS` is launched alone, after the others, and has failed where its worker dies once more.
    """
    deaths: Counter[str] = Counter()
    failed_before = {cell.cell_id: store.cell(cell.cell_id).failed_at() for cell in cells}
    ended: set[str] = set()
    idle_deaths = 0
    while todo := _todo(store, cells, ended):
        batch = [cell_id for cell_id in todo if deaths[cell_id] < SUSPICIOUS_DEATHS] or todo[:1]
        attempts = {cell_id: store.cell(cell_id).attempt() for cell_id in batch}
        try:
            for cell_id, error in zip(batch, launch(batch), strict=True):
                _record(store.cell(cell_id), error)
            ended.update(batch)
        except UserError:
            raise  # nobody's cell is to blame: the launcher can't do as it is told, or another rank is lost
        except Exception as error:  # each launcher has its own way to say that a worker died
            in_the_works = [
                cell_id for cell_id in batch if _begun_since(store.cell(cell_id), attempts[cell_id])
            ]
            idle_deaths += not in_the_works
            if idle_deaths >= MAX_IDLE_DEATHS:
                raise
            deaths.update(in_the_works)
            for cell_id in in_the_works:
                if deaths[cell_id] > SUSPICIOUS_DEATHS:
                    store.cell(cell_id).write_failure(
                        f"its worker process died {deaths[cell_id]} times, at last with no other beside it ({error})"
                    )
            failed_at = {cell_id: store.cell(cell_id).failed_at() for cell_id in batch}
            ended |= {
                cell_id for cell_id in batch if failed_at[cell_id] not in (None, failed_before[cell_id])
            }


def _begun_since(cell: CellFolder, attempt: int | None) -> bool:
    """Whether a worker took up the cell since `attempt` and ended in the midst of it.

    Its lock does not tell, for it went with the worker; nor does its progress, which an earlier run may have left.
    """
    return cell.status() == "running" and cell.attempt() != attempt


def _record(cell: CellFolder, error: BaseException | None) -> None:
    """Write what a launcher says went wrong, unless the cell's own process did, or the cell is another process's.

    Raises RankLost, with which no other cell can be trained.
    """
    if isinstance(error, RankLost):
        raise error
    if error is not None and not isinstance(error, CellBusy) and cell.failure() is None and rank() == 0:
        cell.write_failure(str(error) or type(error).__name__)


def _todo(store: Store, cells: Sequence[Cell], ended: set[str]) -> list[str]:
    """What rank 0 finds neither finished nor ended in this run."""
    mine = [
        cell.cell_id
        for cell in cells
        if cell.cell_id not in ended and not store.cell(cell.cell_id).finished()
    ]
    todo = from_rank_0(mine)
    assert isinstance(todo, list)
    return todo


def conclude(config: Config, plan: Plan, store: Store, folder: Path, wall_s: float) -> bool:
    """Write the run table, the fit and the figure, print the report; whether nothing is missing from it.

    folder: the sweep's, or the local one that stands for it.
    """
    names = ("runs.csv", "fit.json", "isoflop.png", "summary.txt")
    table, fit_json, figure, report = (folder / name for name in names)
    rows = table_rows(plan, store)
    write_text(table, to_csv(rows))
    failed = [row for row in rows if row["status"] != "finished"]
    for trunk in plan.trunks():
        if all(store.cell(cell.cell_id).finished() for cell in trunk):
            store.trunk(trunk[0].spec).keep_last()
    try:
        fit = fit_isoflop(load_runs(table), predict=_targets(config))
    except UserError as error:
        say(f"\nno fit: {error}")
        for stale in (fit_json, figure, report):
            stale.unlink(missing_ok=True)
        summary: dict[str, Any] = {}
    else:
        write_fit(fit, fit_json)
        draw_isoflop(fit, figure)
        text = "\n\n".join([render(fit), what_differs(config, plan, fit), *_closing(config, fit, folder)])
        write_text(report, text + "\n")
        say("\n" + text)
        summary = _headline(fit)
    track_sweep(config, table, fit_json, figure, summary)
    for row in failed:
        say(f"failed: cell {row['run_id']} ({row['status_reason']}); it is tried again on the next run")
    training_s = sum(row["wall_s"] or 0 for row in rows)
    write_json(folder / "sweep.json", {"wall_s": wall_s, "training_s": training_s, "flops": plan.flops})
    say(f"\n{duration(wall_s)} for this run, {duration(training_s)} of training in all cells")
    home = store.sweep_folder(plan.name)
    say(
        "files: "
        + ", ".join(str(home / path.name) for path in (table, fit_json, figure, report) if path.exists())
    )
    if (command := sync_command(config)) is not None:
        say(f"to see the curves on W&B: {command}")
    return not failed and fit_json.exists()


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
    busy = "another process is training it" if folder.busy() else "it was not trained"
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


def _headline(fit: IsoflopFit) -> dict[str, Any]:
    laws = fit_to_dict(fit)["laws"]
    return {
        f"{axis}_{key}": laws[axis][key] for axis in laws if laws[axis] for key in ("exponent", "coefficient")
    }
