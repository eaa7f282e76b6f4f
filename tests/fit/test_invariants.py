"""What a table can go through without another answer, or with one that theory gives: from the file to the law."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fit.isoflop import fit_isoflop
from fit.powerlaw import PowerLaw
from fit.table import load_runs
from tests.simulated import Surface, rows_of, write_csv

IN_ONE_FOLDER = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ROWS = rows_of(Surface().runs(budgets=[1e18, 1e19, 1e20, 1e21], span=4, noise=0.003))
FACTORS = st.floats(1e-6, 1e6)


def laws_of(tmp_path: Path, rows: list[dict[str, Any]]) -> dict[str, PowerLaw]:
    laws = fit_isoflop(load_runs(write_csv(tmp_path / "runs.csv", rows)), resamples=0).laws
    assert laws["tokens"] is not None
    assert laws["params"] is not None
    return {axis: law for axis, law in laws.items() if law is not None}


def assert_same(law: PowerLaw, expected: PowerLaw, log_factor: float = 0.0, tolerance: float = 1e-6) -> None:
    """The exponent and its interval are those expected, and ln A is `log_factor` more."""
    assert law.exponent == pytest.approx(expected.exponent, abs=tolerance)
    assert law.exponent_ci95 == pytest.approx(expected.exponent_ci95, abs=tolerance)
    assert np.log(law.coefficient) == pytest.approx(
        np.log(expected.coefficient) + log_factor, abs=50 * tolerance
    )


@IN_ONE_FOLDER
@given(order=st.permutations(range(len(ROWS))), budgets=st.booleans())
def test_shuffling_the_rows_changes_nothing(tmp_path: Path, order: list[int], budgets: bool) -> None:
    """Truth: the table in its own order, whether its budgets are read or found."""
    rows = [{name: value for name, value in row.items() if budgets or name != "budget"} for row in ROWS]
    expected = laws_of(tmp_path, rows)
    for axis, law in laws_of(tmp_path, [rows[i] for i in order]).items():
        assert_same(law, expected[axis])


@IN_ONE_FOLDER
@given(flops=FACTORS, params=FACTORS, tokens=FACTORS)
def test_other_units_move_the_coefficients_as_theory_says(
    tmp_path: Path, flops: float, params: float, tokens: float
) -> None:
    """Truth: with C' = c·C and D' = d·D, D' = d·A·c^-α · C'^α; N likewise; the exponents have no unit."""
    factors = {"budget": flops, "flops": flops, "params": params, "tokens": tokens}
    rows = [row | {name: row[name] * factor for name, factor in factors.items()} for row in ROWS]
    expected = laws_of(tmp_path, ROWS)
    for axis, law in laws_of(tmp_path, rows).items():
        moved = np.log(factors[axis]) - expected[axis].exponent * np.log(flops)
        assert_same(law, expected[axis], moved)


@IN_ONE_FOLDER
@given(constant=st.floats(0, 100))
def test_a_constant_in_the_loss_moves_no_optimum(tmp_path: Path, constant: float) -> None:
    """Truth: the laws without it; a floor is all that it is."""
    expected = laws_of(tmp_path, ROWS)
    for axis, law in laws_of(tmp_path, [row | {"loss": row["loss"] + constant} for row in ROWS]).items():
        assert_same(law, expected[axis], tolerance=1e-5)
