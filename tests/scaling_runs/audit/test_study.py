"""What an audit's runs say beside the sweep's, and what is missing from them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.table import load_runs
from scaling_runs.cell import Cell
from scaling_runs.conclusion import table_rows, to_csv
from tests.scaling_runs.audit.conftest import Trained, trained
from tests.scaling_runs.test_launching import finish, valley

GROWTH = 0.004
"""Nats by which the tilt of a recipe grows an e-fold of compute."""
CURVATURE = 0.05
"""That of `valley`."""


def tilts(cell: Cell) -> float:
    return 0.02 + (0.01 + GROWTH * math.log(cell.budget / 1e11)) * math.log(cell.params / 3e4)


def test_the_exponent_moves_as_if_the_whole_sweep_were_trained_again(tmp_path: Path) -> None:
    """Truth: all 56 cells with the recipe's losses, through the same fit; and by hand, -growth/(2·curvature)."""
    run = trained(tmp_path, {"lr x2": tilts})
    before, moves = run.fit(), run.study().effects["lr x2"].moves
    for cell in run.plan.cells:
        finish(run.store, cell, valley(cell) + tilts(cell))
    after = fit_isoflop(load_runs(run.table()), resamples=0)
    whole = {}
    for axis in moves:
        laws = before.laws[axis], after.laws[axis]
        assert laws[0] is not None
        assert laws[1] is not None
        whole[axis] = laws[1].exponent - laws[0].exponent
    assert moves["params"].value == pytest.approx(-GROWTH / (2 * CURVATURE), abs=1e-6)
    assert moves["params"].value == pytest.approx(whole["params"], abs=1e-6)
    assert moves["tokens"].value == pytest.approx(
        whole["tokens"], abs=0.004
    )  # no parabola in ln D to the last bit


def test_changes_are_by_budget_and_size_in_order(tmp_path: Path) -> None:
    """Truth: the losses as they were made."""
    run = trained(tmp_path, {"batch /2": tilts})
    study = run.study()
    shapes = [
        next(one.cell for one in run.audit.cells if (one.cell.budget, one.cell.params) == (budget, size))
        for budget in run.audit.budgets
        for size in run.audit.sizes(budget)
    ]
    expected = np.array([tilts(cell) for cell in shapes]).reshape(2, 2)
    assert study.effects["batch /2"].changes == pytest.approx(expected)
    assert study.effects["lr x2"].changes == pytest.approx(np.full((2, 2), 0.1))
    assert study.lacking == ()


def test_noise_is_that_of_seeds_where_there_are_several_and_they_make_a_move_surer(tmp_path: Path) -> None:
    """Truth: 0.002 nats were added to every run; 56 pairs of seeds have one degree of freedom each; the error of a mean
    of two is less by the root of two."""
    one, two = (
        trained(tmp_path / str(seeds), {"lr x2": tilts}, f"sweep.seeds=[{seeds}]", noise=0.002).study()
        for seeds in (1, 2)
    )
    assert one.noise is not None
    assert two.noise is not None
    assert (one.noise.source, two.noise.source) == ("residuals", "seeds")
    assert two.noise.degrees_of_freedom == 56
    assert [one.noise.sd, two.noise.sd] == pytest.approx([0.002, 0.002], rel=0.5)
    errors = [study.effects["lr x2"].moves["params"].se or 0.0 for study in (one, two)]
    assert errors[0] / errors[1] == pytest.approx(math.sqrt(2) * one.noise.sd / two.noise.sd, rel=0.1)


def fail(run: Trained, cell: Cell) -> None:
    folder = run.store.cell(cell.cell_id)
    (folder.path / "result.json").unlink()
    folder.write_failure("the loss is nan")


def test_a_perturbation_that_failed_somewhere_is_told_and_the_others_stand(tmp_path: Path) -> None:
    """Truth: three of four perturbations have all of their losses."""
    run = trained(tmp_path, {"batch x2": tilts})
    lost = next(one for one in run.audit.cells if one.perturbation.name == "lr x2")
    fail(run, lost.cell)
    study = run.study()
    assert list(study.effects) == ["lr /2", "batch x2", "batch /2"]
    assert study.best is not None
    (said,) = study.lacking
    assert said == (
        f"lr x2 at {lost.cell.budget:.3g} FLOPs has no loss for {lost.cell.spec.shape.name}, seed 0: the loss is nan"
    )


def test_a_seed_that_failed_leaves_its_size_to_the_others(tmp_path: Path) -> None:
    """Truth: the mean of the seeds that ended, and their number."""
    run = trained(tmp_path, {}, "sweep.seeds=[3]")
    fail(run, run.audit.cells[0].cell)
    study = run.study()
    name = run.audit.cells[0].perturbation.name
    assert study.budgets[0].runs[name].tolist() == [2, 3]
    assert study.effects[name].changes == pytest.approx(np.full((2, 2), 0.1))
    assert len(study.lacking) == 1


def test_without_any_of_its_cells_an_audit_says_so_of_each(tmp_path: Path) -> None:
    """Truth: sixteen cells, none with a loss."""
    run = trained(tmp_path, {})
    for one in run.audit.cells:
        fail(run, one.cell)
    study = run.study()
    assert (dict(study.effects), study.best) == ({}, None)
    assert len(study.lacking) == 16


def test_a_size_that_the_sweep_lacks_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    """Truth: one of the rule's own runs failed; the sentence names it and what to do."""
    run = trained(tmp_path, {})
    lost = run.audit.cells[0].of
    fail(run, lost)
    said = f"no usable run of {lost.spec.shape.name} at 1.8e\\+11 FLOPs .* run the same command again"
    with pytest.raises(UserError, match=said):
        run.study()


def test_a_valley_without_a_minimum_is_told(tmp_path: Path) -> None:
    """Truth: at the lower budget the larger model is the better, and its parabola ends at the edge."""
    run = trained(tmp_path, {})
    for cell in run.plan.cells:
        if cell.budget == run.audit.budgets[0]:
            finish(run.store, cell, 2 - 0.1 * math.log(cell.params) + 0.01 * math.log(cell.params / 1e4) ** 2)
    study = run.study()
    assert all(effect.moves == {} for effect in study.effects.values())
    assert [line.partition(":")[0] for line in study.lacking] == [
        "no exponent of tokens can be told to move",
        "no exponent of params can be told to move",
    ]
    assert "edge-minimum" in study.lacking[1]


def test_the_audits_table_is_a_run_table_with_the_perturbation_and_the_rules_run(tmp_path: Path) -> None:
    """Truth: contract 1, read by the fit's own reader; and the audit's plan."""
    run = trained(tmp_path, {}, noise=1e-3)
    table = tmp_path / "audit.csv"
    table.write_text(to_csv(run.rows()))
    assert len(load_runs(table)) == 16
    by_id = {row["run_id"]: row for row in run.rows()}
    sweeps = {row["run_id"]: row for row in table_rows(run.plan, run.store)}
    for one in run.audit.cells:
        row = by_id[one.cell.cell_id]
        assert row["perturbation"] == one.perturbation.name
        assert sweeps[row["rule_run_id"]]["params"] == row["params"]
