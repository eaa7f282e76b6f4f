"""The whole experiment: plan, skip what is done, launch the rest, conclude."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial

from fit.errors import UserError
from scaling_runs.adaptive.cells import settings_of
from scaling_runs.adaptive.rounds import DECISIONS, rule_of, train_rounds
from scaling_runs.apart import Split, split_of, train_apart
from scaling_runs.audit.run import (
    TimedAudit,
    audit_of_rounds,
    conclude_audit,
    labelled,
    make_audit,
    print_audit,
    remove_audit,
)
from scaling_runs.cell import Cell
from scaling_runs.conclusion import Launched, conclude, table_rows, to_csv
from scaling_runs.config import Config
from scaling_runs.files import write_text
from scaling_runs.grid import SweepConfig
from scaling_runs.keeping import drop_unfinished, finish_models
from scaling_runs.launchers import ONE_BY_ONE, SideBySide
from scaling_runs.launching import LOOK_EVERY_S, Launch, await_others, record, train_all
from scaling_runs.monitor import watching
from scaling_runs.numbers import number
from scaling_runs.places import ONE_PROCESS, protocol, staged
from scaling_runs.plan import Plan, left_of
from scaling_runs.planning import TimedPlan, make_plan, time_plan
from scaling_runs.ranks import (
    PREPARING_TIMEOUT,
    SAVING_TIMEOUT,
    by_rank_0,
    joined_ranks,
    rank,
    world_size,
)
from scaling_runs.report import print_plan, print_problems, say, totals
from scaling_runs.runtime import require_even_shares
from scaling_runs.store import CellFolder, Store
from scaling_runs.sweep_record import write_plan

MOST_TURNS = 10
"""So often cells are taken up that another process has left."""


def run_sweep(config: Config, launch: Launch, side_by_side: SideBySide = ONE_BY_ONE) -> None:
    """`python launch.py sweep=NAME`: `launch` trains cells `side_by_side`.

    Exits with 1 where a cell failed or no law came out, once all else is reported.
    """
    if config.sweep is None:
        raise UserError("a sweep needs a grid; give sweep=NAME")
    if config.cell is not None:
        raise UserError(
            f"cell={config.cell} is for one cell, and sweep={config.sweep.name} trains all of its own; leave one out"
        )
    if protocol(config.store) == ONE_PROCESS and (side_by_side != ONE_BY_ONE or world_size() > 1):
        raise UserError(
            f"store '{config.store}' lives in one process, and cells are trained in others; add hydra/launcher=basic, "
            f"or name a store that all of them see"
        )
    started = time.monotonic()
    with joined_ranks():
        timed = make_plan(config, side_by_side)
        adaptive = config.sweep.planner == "adaptive"
        audit = make_audit(config, timed, side_by_side) if config.audit and not adaptive else None
        if config.dry_run:
            _print_all(config, config.sweep, timed, audit)
            return
        store = Store.at(config.store)
        if audit is not None:
            say(audit.cost)
        train = Training(config, store, launch, side_by_side)
        plan = _train_planned(config, timed, store, train)
        # before an audit's cells compete
        by_rank_0(partial(finish_models, config, plan, store), SAVING_TIMEOUT)
        if config.audit and adaptive:
            audit = audit_of_rounds(config, plan, timed.corpus, store, side_by_side)
        if audit is not None:
            say("\nthe audit's cells")
            train(audit.timed)
    if config.detach:
        all_cells = [*plan.cells, *(audit.timed.plan.cells if audit is not None else [])]
        finished = store.of_each([cell.cell_id for cell in all_cells], CellFolder.finished)
        if all(finished.values()):
            say("nothing is left to submit; the same command without detach=true fits")
            return
        say(
            f"left to Slurm; python -m scaling_runs status {plan.name} store={config.store} says how it stands, and "
            f"the same command without detach=true waits for the rest and fits"
        )
        return
    if rank() == 0:
        with staged(store.sweep_folder(plan.name)) as folder:
            remove_audit(folder)
            whole = conclude(config, plan, store, folder, time.monotonic() - started, train.launches)
            if audit is not None:
                drop_unfinished(audit.timed.plan.cells, store)
                rows = labelled(audit.audit, table_rows(audit.timed.plan, store))
                write_text(folder / "audit.csv", to_csv(rows))
                whole = conclude_audit(audit.audit, rows, folder) and whole
        if not whole:
            sys.exit(1)


def _print_all(config: Config, sweep: SweepConfig, timed: TimedPlan, audit: TimedAudit | None) -> None:
    """What a dry run says."""
    print_plan(timed, config)
    if world_size() > 1:
        say(split_of(timed, config).reason)
    if sweep.planner == "adaptive":
        later = "\naudit: of the cells that are decided by the end, which says its cost then"
        say("\n" + rule_of(settings_of(sweep)) + later * config.audit)
    if audit is not None:
        print_audit(audit, config)


def _train_planned(config: Config, timed: TimedPlan, store: Store, train: Training) -> Plan:
    """The whole grid, or round by round what the adaptive planner decides; all that was to be trained."""
    assert config.sweep is not None
    if config.sweep.planner == "adaptive":
        return train_rounds(config, timed, store, train, train.side_by_side)
    train(timed)
    of_before = store.sweep_folder(timed.plan.name) / DECISIONS  # by an adaptive run
    by_rank_0(partial(of_before.unlink, missing_ok=True))
    return timed.plan


@dataclass(frozen=True)
class Training:
    """How a sweep's plans are trained."""

    config: Config
    store: Store
    launch: Launch
    side_by_side: SideBySide
    planned: dict[str, Cell] = field(default_factory=dict)
    """All cells so far: of an adaptive sweep's rounds, and of an audit."""
    cell_s: dict[str, float] = field(default_factory=dict)
    gpus: dict[str, int] = field(default_factory=dict)
    launches: list[Launched] = field(default_factory=list)
    """One, or one a round and one for an audit."""

    def __call__(self, timed: TimedPlan) -> None:
        """Say what is planned, and train what of it is not finished."""
        plan = timed.plan
        for cell in split_of(timed, self.config).together:
            require_even_shares(cell.spec)
        say(totals(timed))
        if plan.problems:
            print_problems(timed)
        by_rank_0(lambda: self._write(timed))
        left = self._left(timed)
        still = {cell.cell_id: cell for cell in left.plan.cells}
        if not left.plan.cells:
            say("of these none is left")
        elif left.plan.flops < plan.flops:
            say(f"of these {totals(left)} are left")
        started = time.monotonic()
        with watching(self.store, [still.get(cell.cell_id, cell) for cell in plan.cells]):
            split = split_of(left, self.config)
            if world_size() > 1:
                say(split.reason)
            self._train(split)
            if not self.config.detach:
                self._finish_others(left)
        self.launches.append(Launched(left.estimate.total_s, time.monotonic() - started))

    def _train(self, split: Split) -> None:
        if split.apart:
            train_apart(self.store, [cell.cell_id for cell in split.apart], self.launch, record)
        train_all(self.store, split.together, self.launch)

    def _finish_others(self, timed: TimedPlan) -> None:
        """Wait for those cells that another process trains, and train what it leaves."""
        for _ in range(MOST_TURNS):
            left = by_rank_0(partial(await_others, self.store, timed.plan.cells), PREPARING_TIMEOUT)
            if not left:
                return
            self._train(split_of(replace(timed, plan=replace(timed.plan, cells=tuple(left))), self.config))
            time.sleep(LOOK_EVERY_S)
        say(f"warning: {number(len(left), 'cell')} that others began and left could not be taken up")

    def _write(self, timed: TimedPlan) -> None:
        """Cells and plan, into the store."""
        plan = timed.plan
        self.store.add_all([cell.spec for cell in plan.cells])
        self.planned.update((cell.cell_id, cell) for cell in plan.cells)
        self.cell_s.update(timed.estimate.cell_s)
        self.gpus.update(timed.estimate.gpus)
        write_plan(self.store.sweep_folder(plan.name), self.planned.values(), self.cell_s, self.gpus)

    def _left(self, timed: TimedPlan) -> TimedPlan:
        """What rank 0 finds unfinished, going on from the states of trunks that it finds."""
        left = by_rank_0(lambda: _found_left(timed.plan, self.store))
        if left.flops == timed.plan.flops:
            return timed  # nothing is done yet
        return time_plan(left, timed.corpus, self.config, self.side_by_side)


def _found_left(plan: Plan, store: Store) -> Plan:
    """What of `plan` is not finished, less what trunks have been trained for already."""
    finished = store.of_each([cell.cell_id for cell in plan.cells], CellFolder.finished)
    trunks = {cell.spec.trunk_id: cell.spec for cell in plan.cells if cell.spec.trunk_steps}
    states = {trunk_id: store.trunk(spec).states() for trunk_id, spec in trunks.items()}
    return left_of(plan, {cell_id for cell_id in finished if finished[cell_id]}, states)
