"""The audit's edge: timed and shown beside its sweep, read off its runs, written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.table import load_runs
from scaling_runs.audit.choice import MAX_SHARE, Audit, choose_audit
from scaling_runs.audit.report import audit_to_dict, render_audit
from scaling_runs.audit.study import Rows, study_audit
from scaling_runs.config import Config
from scaling_runs.files import write_json, write_text
from scaling_runs.launchers import SideBySide
from scaling_runs.numbers import duration
from scaling_runs.plan import CorpusSize, Plan
from scaling_runs.planning import TimedPlan, time_plan
from scaling_runs.ranks import by_rank_0
from scaling_runs.report import cell_header, cell_line, say, totals
from scaling_runs.runtime import require_even_shares
from scaling_runs.store import Store

FILES = ("audit.csv", "audit.json")


@dataclass(frozen=True)
class TimedAudit:
    """An audit, and how long it will take."""

    audit: Audit
    timed: TimedPlan
    share_of_time: float
    """Of the sweep's."""

    @property
    def cost(self) -> str:
        """One line beside the sweep's, and one more where it is dear."""
        line = (
            f"audit: {totals(self.timed)}; {self.audit.share:.0%} of the sweep's FLOPs, {self.share_of_time:.0%} of "
            f"its time"
        )
        if self.audit.share > MAX_SHARE:
            line += f"\n  more than {MAX_SHARE:.0%}, for no two of its budgets that lie far enough apart cost less"
        return line


def make_audit(
    config: Config,
    sweep: TimedPlan,
    side_by_side: SideBySide,
    optimum: Callable[[float], float] | None = None,
) -> TimedAudit:
    """The audit of a sweep. UserError where none can be made, or the ranks do not divide its batches.

    optimum: params of a budget's, where more is known than the sweep expects.
    """
    audit = choose_audit(config, sweep.plan, sweep.corpus, optimum)
    plan = time_plan(audit.plan(sweep.plan.name), sweep.corpus, config, side_by_side)
    if not config.dry_run:
        for cell in plan.plan.cells:
            require_even_shares(cell.spec)
    return TimedAudit(audit, plan, plan.estimate.total_s / sweep.estimate.total_s)


def audit_of_rounds(
    config: Config, plan: Plan, corpus: CorpusSize, store: Store, side_by_side: SideBySide
) -> TimedAudit | None:
    """The audit of a sweep whose planner has decided its cells by now; None, and a line why, where none can be made.

    The optimum of a budget is its finished cell of the lowest loss.
    """
    best = by_rank_0(partial(_best_params, plan, store))
    trained = replace(plan, cells=tuple(cell for cell in plan.cells if cell.budget in best))
    try:
        sweep = time_plan(trained, corpus, config, side_by_side)
        audit = make_audit(config, sweep, side_by_side, best.__getitem__)
    except UserError as error:
        say(f"\nno audit: {error}")
        return None
    say("\n" + audit.cost)
    return audit


def _best_params(plan: Plan, store: Store) -> dict[float, float]:
    """Params of each budget's finished cell of the lowest loss."""
    found = {
        budget: [
            (float(row["loss"]), cell.params)
            for cell in plan.cells
            if cell.budget == budget and (row := store.cell(cell.cell_id).result()) is not None
        ]
        for budget in plan.budgets
    }
    return {budget: min(cells)[1] for budget, cells in found.items() if cells}


def print_audit(audit: TimedAudit, config: Config) -> None:
    """Every cell, and what they cost."""
    store = Store.at(config.store)
    for budget in audit.audit.budgets:
        say(f"\naudit of {budget:.3g} FLOPs\n{'change':>10} {cell_header(audit.timed.estimate)}")
        for one in audit.audit.cells:
            if one.cell.budget == budget:
                say(f"{one.perturbation.name:>10} {cell_line(one.cell, audit.timed.estimate, store)}")
    say("\n" + "\n".join([audit.cost, *(f"  {line}" for line in audit.audit.left_out)]))


def labelled(audit: Audit, rows: Rows) -> list[dict[str, Any]]:
    """The audit's rows of contract 1, with the perturbation of each and the sweep's run that it is compared with."""
    cells = {one.cell.cell_id: one for one in audit.cells}
    return [
        {**row, "perturbation": one.perturbation.name, "rule_run_id": one.of.cell_id}
        for row in rows
        if (one := cells[str(row["run_id"])])
    ]


def conclude_audit(audit: Audit, rows: Rows, folder: Path) -> bool:
    """Read the sweep's table in `folder`, append the audit to its summary, write audit.json; whether all is there.

    rows: of the audit's own table.
    """
    table, summary, record = folder / "runs.csv", folder / "summary.txt", folder / "audit.json"
    try:
        study = study_audit(audit, fit_isoflop(load_runs(table), resamples=0), rows)
    except UserError as error:
        say(f"\nno audit: {error}")
        record.unlink(missing_ok=True)
        return False
    text = render_audit(study)
    write_text(summary, f"{summary.read_text(encoding='utf-8')}\n{text}\n")
    write_json(record, audit_to_dict(study))
    training_s = sum(row["wall_s"] or 0 for row in rows)
    say(f"\n{text}\n\n{duration(training_s)} of training in the audit's cells")
    say(f"files, beside the run table: {', '.join(FILES)}")
    return all(row["status"] == "finished" for row in rows)


def remove_audit(folder: Path) -> None:
    """What an earlier audit wrote: the sweep may have changed since, and its cells are kept to write it anew."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
