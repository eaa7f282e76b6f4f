"""An audit beside its sweep: what is printed, written, and taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_runs import sweeper
from scaling_runs.audit.choice import choose_audit
from scaling_runs.audit.run import TimedAudit, conclude_audit, print_audit, remove_audit
from scaling_runs.conclusion import to_csv
from scaling_runs.estimate import Estimate
from scaling_runs.launchers import SideBySide
from scaling_runs.planning import TimedPlan
from scaling_runs.store import Store
from scaling_runs.sweeper import run_sweep
from tests.configs import LOCAL_CORPUS, config_of, plan_of
from tests.contract import read_json
from tests.scaling_runs.audit.conftest import Trained, trained
from tests.scaling_runs.audit.test_study import fail


def timed_audit(*overrides: str) -> TimedAudit:
    """An audit of whose cells the n-th takes n minutes."""
    audit = choose_audit(config_of(*overrides), plan_of(*overrides), LOCAL_CORPUS)
    plan = audit.plan("any")
    cell_s = {cell.cell_id: 60.0 * (number + 1) for number, cell in enumerate(plan.cells)}
    return TimedAudit(audit, TimedPlan(plan, LOCAL_CORPUS, Estimate(cell_s, 3600.0, 2, "a trial")), 0.4)


def test_a_dry_run_shows_every_cell_and_the_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: the audit's own cells, each with its perturbation, and its cost beside the sweep's."""
    timed = timed_audit("sweep=isoflop_small")
    print_audit(timed, config_of("sweep=isoflop_small", f"store={tmp_path}"))
    out = capsys.readouterr().out
    for one in timed.audit.cells:
        (line,) = (line for line in out.splitlines() if one.cell.cell_id in line)
        assert line[:10].strip() == one.perturbation.name
        assert one.cell.spec.shape.name in line
    assert "audit: 16 cells, 1.18e+13 FLOPs" in out
    assert "; 39% of the sweep's FLOPs, 40% of its time" in out
    assert "more than 50%" not in out


def test_a_dear_audit_is_said_to_be_dear(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: by hand, 8·(1 + 2.2) of 4·(1 + 1.5 + 2.2): 136%."""
    print_audit(timed_audit("sweep=isoflop_tiny"), config_of("sweep=isoflop_tiny", f"store={tmp_path}"))
    out = capsys.readouterr().out
    assert "136% of the sweep's FLOPs" in out
    assert "more than 50%, for no two of its budgets" in out


def test_a_sweep_of_which_the_audit_is_left_to_a_queue_is_not_said_to_be_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: what is finished: the sweep's own cells, and in the end the audit's too. A queue that only takes them."""
    config = config_of("sweep=isoflop_small", f"store={tmp_path}", "audit=true", "detach=true")
    plan, audit, store = plan_of("sweep=isoflop_small"), timed_audit("sweep=isoflop_small"), Store(tmp_path)
    estimate = Estimate({cell.cell_id: 60.0 for cell in plan.cells}, 3600.0, 2, "a trial")
    monkeypatch.setattr(sweeper, "make_plan", lambda *given: TimedPlan(plan, LOCAL_CORPUS, estimate))
    monkeypatch.setattr(sweeper, "make_audit", lambda *given: audit)
    monkeypatch.setattr(sweeper, "time_plan", lambda left, *given: TimedPlan(left, LOCAL_CORPUS, estimate))
    for cells, said in (
        (plan.cells, "left to Slurm; "),
        (audit.timed.plan.cells, "nothing is left to submit; "),
    ):
        for cell in cells:
            store.add(cell.spec).write_result({"loss": 1.0, "wall_s": 1.0})
        run_sweep(config, lambda cell_ids: [None] * len(cell_ids), SideBySide(None, here=False))
        assert capsys.readouterr().out.splitlines()[-1].startswith(said)


def concluded(run: Trained) -> bool:
    run.table()
    (run.folder / "audit.csv").write_text(to_csv(run.rows()))
    return conclude_audit(run.audit, run.rows(), run.folder)


def test_the_audit_follows_the_fit_on_the_screen_and_in_the_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: the summary that was there, then the audit's text, as printed; audit.json is JSON."""
    run = trained(tmp_path, {}, noise=1e-3)
    assert concluded(run) is True
    out, summary = capsys.readouterr().out, (run.folder / "summary.txt").read_text()
    assert summary.startswith("the fit\n\nThe audit:")
    assert summary.removeprefix("the fit\n") in out
    assert "24s of training in the audit's cells" in out
    assert "files, beside the run table: audit.csv, audit.json\n" in out
    assert read_json(run.folder / "audit.json")["cells"] == 16


def test_an_audit_with_a_failed_cell_is_not_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: the command is to exit with 1, once all else is told."""
    run = trained(tmp_path, {}, noise=1e-3)
    fail(run, run.audit.cells[0].cell)
    assert concluded(run) is False
    assert "has no loss for" in capsys.readouterr().out
    assert read_json(run.folder / "audit.json")["lacking"]


def test_a_sweep_without_a_law_has_no_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: no parabola is left, and no file of an earlier audit to be taken for this one's."""
    run = trained(tmp_path, {})
    assert concluded(run)
    for cell in run.plan.cells[1:]:
        fail(run, cell)
    capsys.readouterr()
    assert concluded(run) is False
    assert capsys.readouterr().out.startswith("\nno audit: ")
    assert not (run.folder / "audit.json").exists()
    assert (run.folder / "summary.txt").read_text() == "the fit\n"


def test_what_an_earlier_audit_wrote_is_taken_away(tmp_path: Path) -> None:
    """Truth: its two files, and nothing else, whether they are there or not."""
    for name in ("audit.csv", "audit.json", "runs.csv"):
        (tmp_path / name).write_text("")
    for _ in range(2):
        remove_audit(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]
