"""Random-effects regression: what it is between its two extremes, and how often it holds the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from fit.regression import line_from_dict, line_to_dict, random_effects

X = np.log(np.array([1e18, 3e18, 1e19, 3e19, 1e20]))


def test_without_known_errors_it_is_the_plain_regression() -> None:
    """Truth: scipy.stats.linregress and Student's t with k - 2 degrees of freedom."""
    y = 1 + 0.5 * X + np.array([0.1, -0.05, 0.02, -0.1, 0.05])
    line, truth = random_effects(X, y, np.zeros((5, 5))), stats.linregress(X, y)
    half = stats.t.ppf(0.975, 3) * truth.stderr
    assert line.slope == pytest.approx(truth.slope)
    assert line.value(0) == pytest.approx(truth.intercept)
    assert line.slope_ci95() == pytest.approx((truth.slope - half, truth.slope + half))


def test_known_errors_that_explain_all_weight_each_point_by_its_own() -> None:
    """Truth: numpy.polyfit with weights 1/sd; no scatter is left to estimate."""
    sd = np.array([0.01, 0.02, 0.05, 0.1, 0.2])
    y = 1 + 0.5 * X + sd * np.array([0.5, -0.5, 0.5, -0.5, 0.5])
    line = random_effects(X, y, np.diag(sd**2))
    assert line.tau == 0
    assert (line.slope, line.value(0)) == pytest.approx(tuple(np.polyfit(X, y, 1, w=1 / sd)))


def test_scatter_is_what_brings_the_weighted_squares_to_their_expectation() -> None:
    """Truth: Paule and Mandel's equation, residuals weighted by 1/(s² + tau²) sum to k - 2."""
    sd = np.array([0.01, 0.02, 0.01, 0.03, 0.02])
    y = 1 + 0.5 * X + np.array([0.3, -0.2, 0.1, -0.4, 0.25])
    line = random_effects(X, y, np.diag(sd**2))
    residuals = y - np.array([line.value(x) for x in X])
    assert np.sum(residuals**2 / (sd**2 + line.tau**2)) == pytest.approx(3, rel=1e-6)


@pytest.mark.parametrize("scatter", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("budgets", [4, 8])
def test_the_interval_holds_the_truth_as_often_as_it_says(scatter: float, budgets: int) -> None:
    """Truth: 2,000 lines with known errors that grow along x; 95% of them, standard deviation 0.5%."""
    random = np.random.default_rng(budgets)
    x, sd = np.linspace(40, 47, budgets), np.geomspace(0.01, 0.05, budgets)
    slopes = heights = 0
    for _ in range(2000):
        y = 1 + 0.5 * x + np.sqrt(sd**2 + scatter**2) * random.standard_normal(budgets)
        line = random_effects(x, y, np.diag(sd**2))
        slope, height = line.slope_ci95(), line.value_ci95(55)
        assert slope is not None
        assert height is not None
        slopes += slope[0] <= 0.5 <= slope[1]
        heights += height[0] <= 28.5 <= height[1]
    assert 0.93 <= slopes / 2000 <= 0.975
    assert 0.93 <= heights / 2000 <= 0.975


def test_two_points_have_the_interval_of_their_known_errors_or_none() -> None:
    """Truth: sqrt(s1² + s2²) over the distance, times 1.96."""
    x, y = np.array([40.0, 42.0]), np.array([20.0, 21.0])
    line = random_effects(x, y, np.diag([0.01, 0.04]))
    half = 1.959964 * np.sqrt(0.05) / 2
    assert line.slope_ci95() == pytest.approx((0.5 - half, 0.5 + half))
    assert random_effects(x, y, np.zeros((2, 2))).slope_ci95() is None


def test_two_points_whose_errors_are_known_from_few_runs_have_students_interval() -> None:
    """Truth: scipy's Student's t with the degrees of freedom of the errors' size; and the JSON keeps them."""
    line = random_effects(np.array([40.0, 42.0]), np.array([20.0, 21.0]), np.diag([0.01, 0.04]), 2.0)
    half = stats.t.ppf(0.975, 2) * np.sqrt(0.05) / 2
    assert line.slope_ci95() == pytest.approx((0.5 - half, 0.5 + half))
    again = line_from_dict(json.loads(json.dumps(line_to_dict(line))), line.tau)
    assert again.value_ci95(45.0) == line.value_ci95(45.0)


@pytest.mark.parametrize(
    "damage",
    [
        {"covariance": [[1.0]]},
        {"points": 1},
        {"x0": np.nan},
        {"known_freedom": 0},
        {"known": [[-1.0, 0.0], [0.0, 1.0]]},
    ],
)
def test_what_is_no_line_is_refused(damage: dict[str, object]) -> None:
    line = line_to_dict(random_effects(X, 1 + 0.5 * X, np.eye(5) * 0.01))
    with pytest.raises(ValueError):  # noqa: PT011
        line_from_dict({**line, **damage}, 0.0)


def test_points_on_a_line_by_luck_do_not_shrink_the_interval_below_their_noise() -> None:
    """Truth: 0.6 of the interval that the known errors alone give."""
    line = random_effects(X, 1 + 0.5 * X, np.eye(5) * 0.01)
    ci95 = line.slope_ci95()
    assert ci95 is not None
    known = 1.959964 * 0.1 / np.sqrt(np.sum((X - X.mean()) ** 2))
    assert (ci95[1] - ci95[0]) / 2 == pytest.approx(0.6 * known)


@pytest.mark.parametrize("points", [2, 3, 5])
@pytest.mark.parametrize("sd", [0.0, 0.02, 0.5])
def test_an_interval_is_students_on_the_error_that_is_told(points: int, sd: float) -> None:
    """Truth: scipy.stats.t, at every share of known errors: none, some, more than the residuals show."""
    y = 1 + 0.5 * X + np.array([0.03, -0.05, 0.02, -0.1, 0.05])
    line = random_effects(X[:points], y[:points], sd**2 * np.eye(points))
    for interval, (variance, freedom), centre in (
        (line.slope_ci95(), line.slope_error(), line.slope),
        (line.value_ci95(50.0), line.value_error(50.0), line.value(50.0)),
    ):
        assert freedom == (points - 2 or np.inf)
        half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
        assert (interval is None) == (half == 0)
        assert interval is None or interval == pytest.approx((centre - half, centre + half))
