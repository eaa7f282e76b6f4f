"""`audit=true` as a user starts it: beside a sweep that is done, again, and left out."""

from __future__ import annotations

import csv
import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract import read_json
from tests.launching import ALONE, Ran, Sweep, grid, launch_warm, results, untimed


@dataclass(frozen=True)
class Audited:
    """A finished sweep that was audited, then audited again, then run without."""

    sweep: Sweep
    before: dict[str, int]
    first: Ran
    summary: str
    trained: dict[str, int]
    again: Ran
    trained_again: dict[str, int]
    table: list[dict[str, str]]
    record: dict[str, object]
    without: Ran


@pytest.fixture(scope="module")
def audited(base: Path, sweep: Sweep) -> Audited:
    store = base / "audited"
    shutil.copytree(sweep.store, store)
    copy, before = Sweep(sweep.ran, store), results(store)
    command = [*grid(base, store), ALONE]
    first = launch_warm(*command, "audit=true")
    summary, trained = (copy.folder / "summary.txt").read_text(), results(store)
    with (copy.folder / "audit.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    record = read_json(copy.folder / "audit.json")
    again = launch_warm(*command, "audit=true")
    trained_again = results(store)
    without = launch_warm(*command)
    return Audited(copy, before, first, summary, trained, again, trained_again, table, record, without)


def test_an_audit_trains_its_own_cells_and_reports_after_the_fit(audited: Audited) -> None:
    """Truth: four changes at two sizes of two budgets; the text on the screen is that in the summary."""
    assert (audited.first.code, audited.first.err) == (0, "")
    assert len(audited.trained) == len(audited.before) + 16
    assert audited.before.items() <= audited.trained.items()
    text = audited.summary[audited.summary.index("The audit:") :]
    assert text in audited.first.out
    assert audited.first.out.index("Different here:") < audited.first.out.index("The audit:")


def test_the_audits_runs_stay_out_of_the_table_that_is_fitted(audited: Audited, sweep: Sweep) -> None:
    """Truth: the sweep's own table, as before; the audit's is another, of the same columns and its own cells."""
    assert untimed(audited.sweep.rows()) == untimed(sweep.rows())
    columns = set(sweep.rows()[0])
    assert set(audited.table[0]) == columns | {"perturbation", "rule_run_id"}
    assert {row["run_id"] for row in audited.table} == audited.trained.keys() - audited.before.keys()
    assert {row["rule_run_id"] for row in audited.table} <= {row["run_id"] for row in sweep.rows()}


def test_the_changes_of_loss_are_those_of_the_two_tables(audited: Audited, sweep: Sweep) -> None:
    """Truth: each audited run's loss less that of the run that it names, by hand."""
    rule = {row["run_id"]: float(row["loss"]) for row in sweep.rows()}
    perturbations = audited.record["perturbations"]
    assert isinstance(perturbations, list)
    assert len(perturbations) == 4
    for one in perturbations:
        rows = [row for row in audited.table if row["perturbation"] == one["name"]]
        rows.sort(key=lambda row: (float(row["budget"]), int(row["params"])))
        changes = [float(row["loss"]) - rule[row["rule_run_id"]] for row in rows]
        assert list(itertools.chain(*one["loss_changes"])) == pytest.approx(changes, abs=1e-12)


def test_an_audit_that_is_done_is_told_again_at_no_cost(audited: Audited) -> None:
    """Truth: no cell is written anew, and the text is the same."""
    assert audited.again.code == 0
    assert audited.trained_again == audited.trained
    assert audited.summary[audited.summary.index("The audit:") :] in audited.again.out


def test_without_the_option_no_earlier_audit_is_left(audited: Audited) -> None:
    """Truth: the folder as a sweep without an audit leaves it; the cells stay in the store."""
    assert audited.without.code == 0
    assert "The audit:" not in audited.without.out + (audited.sweep.folder / "summary.txt").read_text()
    assert not list(audited.sweep.folder.glob("audit.*"))
    assert results(audited.sweep.store) == audited.trained


def test_a_dry_run_marks_what_of_an_audit_is_done(base: Path, audited: Audited) -> None:
    """Truth: all six cells of the sweep and all sixteen of the audit are."""
    ran = launch_warm(*grid(base, audited.sweep.store), "dry_run=true", "audit=true")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("(done)") == 22
