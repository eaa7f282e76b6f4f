"""Ordinary least squares in log space, and its intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fit.powerlaw import fit_power_law
from fit.statistics import ols, percentiles

FLOPS = np.array([1e18, 3e18, 1e19, 3e19, 1e20])
OPTIMA = 0.3 * FLOPS**0.54 * np.array([1.1, 0.9, 1.05, 0.97, 1.0])


def test_slope_intercept_and_their_intervals_are_those_of_scipy() -> None:
    """Truth: scipy.stats.linregress and Student's t."""
    x, y = np.log(FLOPS), np.log(OPTIMA)
    law, line = fit_power_law(FLOPS, OPTIMA), stats.linregress(x, y)
    t = stats.t.ppf(0.975, len(x) - 2)
    assert law.exponent == pytest.approx(line.slope)
    assert law.coefficient == pytest.approx(np.exp(line.intercept))
    assert law.parts["between"] == pytest.approx((line.slope - t * line.stderr, line.slope + t * line.stderr))
    half = t * line.intercept_stderr
    assert law.coefficient_ci95 == pytest.approx(
        (np.exp(line.intercept - half), np.exp(line.intercept + half)), rel=1e-6
    )
    assert law.parts["within"] is None
    assert law.exponent_ci95 == pytest.approx(law.parts["between"])


def test_a_predictions_interval_is_that_of_the_lines_height() -> None:
    """Truth: (1, x)ᵀ Cov (1, x) of the regression, by numpy.linalg."""
    x, y, at = np.log(FLOPS), np.log(OPTIMA), np.log(1e22)
    design = np.stack([np.ones_like(x), x - x.mean()], axis=1)
    coefficients, squares, *_ = np.linalg.lstsq(design, y, rcond=None)
    covariance = np.linalg.inv(design.T @ design) * squares[0] / (len(x) - 2)
    point = np.array([1, at - x.mean()])
    half = stats.t.ppf(0.975, len(x) - 2) * np.sqrt(point @ covariance @ point)
    found = fit_power_law(FLOPS, OPTIMA).predict(1e22)
    assert found.value == pytest.approx(np.exp(point @ coefficients))
    assert found.ci95 == pytest.approx(
        (np.exp(point @ coefficients - half), np.exp(point @ coefficients + half))
    )


def test_two_budgets_have_no_scatter_and_three_have() -> None:
    two = fit_power_law(FLOPS[:2], OPTIMA[:2])
    assert two.exponent == pytest.approx(np.log(OPTIMA[1] / OPTIMA[0]) / np.log(3))
    assert (two.parts["between"], two.exponent_ci95, two.coefficient_ci95, two.parts["leave_one_out"]) == (
        None,
    ) * 4
    assert two.predict(1e20).ci95 is None
    assert fit_power_law(FLOPS[:3], OPTIMA[:3]).parts["between"] is not None


def test_leaving_one_out_is_the_range_of_the_slopes_without_each() -> None:
    """Truth: numpy.polyfit on the rest."""
    slopes = [np.polyfit(np.log(np.delete(FLOPS, i)), np.log(np.delete(OPTIMA, i)), 1)[0] for i in range(5)]
    assert fit_power_law(FLOPS, OPTIMA).parts["leave_one_out"] == pytest.approx((min(slopes), max(slopes)))


@given(st.lists(st.lists(st.floats(-50, 50), min_size=4, max_size=4), min_size=1, max_size=5), st.data())
def test_points_that_are_nan_are_left_out_of_their_row_alone(
    rows: list[list[float]], data: st.DataObject
) -> None:
    """Truth: numpy.polyfit on each row's own points."""
    x, y = np.array([40.0, 42.0, 45.0, 46.0]), np.array(rows)
    for row in y:
        for i in data.draw(st.sets(st.integers(0, 3), max_size=2)):
            row[i] = np.nan
    for row, (intercept, slope) in zip(y, ols(x, y), strict=True):
        there = np.isfinite(row)
        expected = np.polyfit(x[there] - 43, row[there], 1)
        assert slope == pytest.approx(expected[0], abs=1e-8)
        assert intercept + 43 * slope == pytest.approx(expected[1], abs=1e-8)


@pytest.mark.parametrize("there", [0, 1])
def test_a_row_with_fewer_than_two_points_has_no_line(there: int) -> None:
    y = np.full((1, 4), np.nan)
    y[0, :there] = 1.0
    assert np.isnan(ols(np.array([1.0, 2.0, 3.0, 4.0]), y)[0, 1])


def test_draws_without_a_minimum_do_not_reach_the_interval() -> None:
    """Truth: the interval of the same draws less the rows that are NaN throughout."""
    draws = OPTIMA * np.exp(np.random.default_rng(0).normal(0, 0.1, (500, 5)))
    holes = np.concatenate([draws, np.full((100, 5), np.nan)])
    assert (
        fit_power_law(FLOPS, OPTIMA, holes).parts["within"]
        == fit_power_law(FLOPS, OPTIMA, draws).parts["within"]
    )
    assert fit_power_law(FLOPS, OPTIMA, holes[500:]).parts["within"] is None


def test_percentiles_hold_the_central_95_in_100() -> None:
    """Truth: 0 to 1000 by ones."""
    assert percentiles(np.append(np.arange(1001.0), np.nan)) == pytest.approx((25, 975))
    assert percentiles(np.array([np.nan])) is None
