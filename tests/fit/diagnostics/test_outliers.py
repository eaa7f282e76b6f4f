"""A run is an outlier where the others say so and it matters; a clean table has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.diagnostics.outliers import deleted_residuals, outlier_findings
from fit.table import RunTable
from fit.valley import fit_valley
from tests.fit.diagnostics.tables import clean, texts
from tests.simulated import parabolas


def with_error(runs: RunTable, run: int, error: float) -> RunTable:
    loss = runs.loss.copy()
    loss[run] += error
    return replace(runs, loss=loss)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), sizes=st.integers(5, 12))
def test_deleted_residuals_are_those_of_a_fit_without_the_run(seed: int, sizes: int) -> None:
    """Truth: numpy's least squares on the others, its prediction error included."""
    valley = fit_valley(parabolas(budgets=[1e18], sizes=sizes, noise=0.01, seed=seed), 1e18, "tokens")
    distance, studentised, freedom = deleted_residuals(valley)
    assert freedom == sizes - 4
    for run in range(sizes):
        others = np.arange(sizes) != run
        design, losses = valley.design[others], valley.losses[others]
        solution = np.linalg.lstsq(design, losses, rcond=None)[0]
        variance = np.sum((losses - design @ solution) ** 2) / freedom
        row = valley.design[run]
        error = np.sqrt(variance * (1 + row @ np.linalg.inv(design.T @ design) @ row))
        beyond = valley.losses[run] - row @ solution
        assert distance[run] == pytest.approx(beyond, rel=1e-6, abs=1e-9)
        assert studentised[run] == pytest.approx(beyond / error, rel=1e-5, abs=1e-6)


def test_a_run_that_went_astray_is_named_with_what_it_does_to_the_optimum() -> None:
    """0.2 nats on the run of fewest tokens of the second budget, in noise of 0.002; no other run is blamed."""
    runs = with_error(parabolas(noise=0.002, sizes=9), 9, 0.2)
    found = texts(runs, "outlier-run")
    assert [text.split(" lies")[0] for text in found] == ["tokens and params: run 9"]
    distance = float(found[0].split("lies ")[1].split(" ")[0])
    assert distance == pytest.approx(0.2, rel=0.1)
    optimum = fit_valley(parabolas(sizes=9), 4e18, "tokens").optimum
    assert float(found[0].split(" to ")[1].split(" ")[0]) == pytest.approx(optimum, rel=0.03)


def test_an_outlier_that_makes_the_valley_open_downward_is_named() -> None:
    runs = with_error(parabolas(noise=0.002, sizes=9), 4, 1.0)
    assert any("run 4 lies" in text and "from none to" in text for text in texts(runs, "outlier-run"))


def test_an_outlier_in_the_middle_that_moves_nothing_is_left_in_peace() -> None:
    """By symmetry the middle run of a centred grid has no say in where the minimum is."""
    assert not texts(with_error(parabolas(noise=1e-4, sizes=9), 13, 0.02), "outlier-run")


def test_few_clean_tables_have_an_outlier() -> None:
    """Truth: Bonferroni's bound of 5 in 100 tables of Gaussian noise; one that must move the optimum too is rarer."""
    tables = [parabolas(noise=0.02, sizes=7, seed=seed) for seed in range(100)]
    blamed = [
        bool(outlier_findings(runs, [fit_valley(runs, float(c), "tokens") for c in runs.budgets]))
        for runs in tables
    ]
    assert sum(blamed) <= 10
    assert not texts(clean(), "outlier-run")


def test_four_runs_blame_none() -> None:
    """Three say nothing of their noise."""
    assert not texts(with_error(parabolas(sizes=4), 0, 0.3), "outlier-run")
