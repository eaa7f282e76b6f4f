"""Power laws with and without a floor, and how often their intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fit.curve import Curve, Space, fit_curve
from fit.errors import UserError

X = np.geomspace(1e18, 1e21, 8)


def simulated(
    n: int,
    noise: float,
    random: np.random.Generator,
    *,
    floor: float,
    space: Space = "linear",
    decades: int = 3,
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) x over `decades`, and y = floor + 2·x^-0.25 with Gaussian noise of y or of ln y."""
    x = np.geomspace(1, 10**decades, n)
    curve = floor + 2 * x**-0.25
    errors = noise * random.standard_normal(n)
    return x, curve * np.exp(errors) if space == "log" else curve + errors


def holds(ci95: tuple[float, float] | None, truth: float) -> bool:
    assert ci95 is not None
    return ci95[0] <= truth <= ci95[1]


def coverage(curves: list[Curve], floor: float, beyond: float) -> tuple[float, float]:
    """The share of 95% intervals that hold the exponent, and the height at `beyond`."""
    truth = floor + 2 * beyond**-0.25
    exponent = np.mean([holds(curve.exponent_ci95, -0.25) for curve in curves])
    return float(exponent), float(np.mean([holds(curve.predict(beyond).ci95, truth) for curve in curves]))


def test_intervals_with_a_floor_hold_95_times_in_100() -> None:
    """Truth: 300 simulated curves of 5, 8 and 15 points at two levels of noise, predicted 10x beyond."""
    random = np.random.default_rng(0)
    curves = [
        fit_curve(*simulated(n, noise, random, floor=1.7), offset=True, space="linear")
        for n in (5, 8, 15)
        for noise in (0.003, 0.01)
        for _ in range(50)
    ]
    assert {curve.floor_state for curve in curves} == {"supported"}
    for share in coverage(curves, 1.7, 1e4):
        assert 0.92 <= share <= 0.98


@pytest.mark.parametrize("space", ["log", "linear"])
def test_intervals_of_the_plain_law_hold_95_times_in_100(space: Space) -> None:
    """Truth: 300 simulated curves of 5, 8 and 15 points, predicted 10x beyond."""
    random = np.random.default_rng(1)
    curves = [
        fit_curve(*simulated(n, 0.02, random, floor=0.0, space=space), space=space)
        for n in (5, 8, 15)
        for _ in range(100)
    ]
    for share in coverage(curves, 0.0, 1e4):
        assert 0.92 <= share <= 0.98


def test_intervals_hold_where_the_floor_can_not_be_decided() -> None:
    """Truth: curves of half a decade, with and without a floor, whose bend is lost in noise; predicted 10x beyond."""
    random = np.random.default_rng(2)
    undecided = 0
    for floor in (0.0, 1.0):
        x = np.geomspace(1, 10**0.5, 6)
        truth = floor + 2 * 10**-0.375
        held = []
        for _ in range(40):
            y = floor + 2 * x**-0.25 + 0.02 * random.standard_normal(6)
            curve = fit_curve(x, y, offset=True, space="linear")
            undecided += curve.floor_state == "undecided"
            held.append(holds(curve.predict(10**1.5).ci95, truth))
        assert np.mean(held) >= 0.92
    assert undecided > 60


def test_a_floor_that_is_not_there_is_claimed_once_in_twenty_at_most() -> None:
    """Truth: the size of an F-test at 5%, halved by the bound of E at zero."""
    random = np.random.default_rng(3)
    claimed = [
        fit_curve(*simulated(8, 0.02, random, floor=0.0), offset=True, space="linear").floor_state
        == "supported"
        for _ in range(200)
    ]
    assert np.mean(claimed) <= 0.06


def test_the_plain_law_in_log_space_is_that_of_scipy() -> None:
    """Truth: scipy.stats.linregress and Student's t."""
    x, y = simulated(8, 0.1, np.random.default_rng(4), floor=0.0, space="log")
    curve, line = fit_curve(x, y), stats.linregress(np.log(x), np.log(y))
    assert curve.exponent == pytest.approx(line.slope)
    assert curve.coefficient == pytest.approx(np.exp(line.intercept))
    half = stats.t.ppf(0.975, 6) * line.stderr
    assert curve.exponent_ci95 == pytest.approx((line.slope - half, line.slope + half))


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("space", ["log", "linear"])
def test_a_curve_without_noise_is_found_again(space: Space, offset: bool) -> None:
    """Truth: the curve, at compute's own sizes."""
    floor = 1.69 * offset
    curve = fit_curve(X, floor + 1e4 * X**-0.2, offset=offset, space=space)
    assert curve.floor == pytest.approx(floor, abs=1e-6)
    assert curve.exponent == pytest.approx(-0.2, rel=1e-6)
    assert curve.coefficient == pytest.approx(1e4, rel=1e-4)
    assert curve.predict(1e25).value == pytest.approx(floor + 1e4 * 1e25**-0.2, rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.permutations(range(8)))
def test_units_and_the_order_of_rows_do_not_matter(x_unit: float, y_unit: float, order: list[int]) -> None:
    """Truth: y in another unit has its floor in that unit; the exponent has none."""
    x, y = simulated(8, 0.005, np.random.default_rng(5), floor=1.7)
    ours = fit_curve(x, y, offset=True, space="linear")
    theirs = fit_curve(x[order] * x_unit, y[order] * y_unit, offset=True, space="linear")
    assert theirs.exponent == pytest.approx(ours.exponent, rel=1e-4)
    assert theirs.floor == pytest.approx(ours.floor * y_unit, rel=1e-4)
    assert theirs.floor_p == pytest.approx(ours.floor_p, rel=1e-3)


def test_y_that_rises_has_a_plain_law_and_no_floor() -> None:
    curve = fit_curve(X, 0.3 * X**0.5, offset=True)
    assert (curve.form, curve.floor_state, curve.floor_ci95) == ("power", "no-fall", None)
    assert curve.exponent == pytest.approx(0.5)


def test_the_points_of_small_standard_error_rule() -> None:
    """Truth: a point of 100 times the standard error of the others moves nothing."""
    x, y = simulated(8, 0.0, np.random.default_rng(6), floor=1.7)
    y[3] += 0.1
    sd = np.full(8, 0.001)
    sd[3] = 10.0
    assert fit_curve(x, y, offset=True, space="linear", sd=sd).exponent == pytest.approx(-0.25, abs=1e-4)


def test_two_points_have_a_law_and_no_interval() -> None:
    for space in ("log", "linear"):
        curve = fit_curve(X[:2], X[:2] ** 0.5, space=space)
        assert curve.exponent == pytest.approx(0.5)
        assert (curve.exponent_ci95, curve.predict(1e22).ci95, curve.residual_sd) == (None, None, None)


@pytest.mark.parametrize("y", [np.full(8, 2.0), 3 * X**0.3])
def test_points_on_a_law_to_rounding_are_known_to_no_more_than_rounding(y: np.ndarray) -> None:
    """Truth: the law, inside intervals as wide as the digits that y is trusted to hold."""
    curve, exponent = fit_curve(X, y), np.polyfit(np.log(X), np.log(y), 1)[0]
    low, high = curve.exponent_ci95 or (np.nan, np.nan)
    assert low < exponent < high
    assert 1e-13 < high - low < 1e-10
    at = curve.predict(1e22).ci95 or (np.nan, np.nan)
    assert at[0] < y[0] * (1e22 / X[0]) ** exponent < at[1]


def test_y_of_many_decades_is_refused_in_y_and_fitted_in_ln_y() -> None:
    x = np.geomspace(1, 10, 6)
    with pytest.raises(UserError, match="a fit in y sees its largest alone"):
        fit_curve(x, x**-55.0, space="linear")
    assert fit_curve(x, x**-55.0).exponent == pytest.approx(-55)


@pytest.mark.parametrize(
    ("x", "y", "offset", "message"),
    [
        ([1.0], [1.0], False, "a power law needs 2 different x and there are 1"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], False, "needs 2 different x and there are 1"),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.9], True, "with a floor needs 4 different x and there are 3"),
        ([1.0, 2.0], [1.0, 0.0], False, "y holds 0; a power law needs positive"),
        ([1.0, float("nan")], [1.0, 2.0], False, "x holds nan"),
        ([1.0, 2.0], [1.0], False, "y has the shape"),
        ([1.0, 2.0], [1e-40, 1e40], False, "wider than 1e\\+60-fold"),
        ([1e18, 1.01e18], [1.0, 2.0], False, "has no coefficient that a number can hold"),
        (
            [1.0, 1.0000001, 1.0000002],
            [1.0, 2.0, 4.0],
            False,
            "from 1 to 1.0000002 only, which differ by less",
        ),
        ([1.0] * 2001, [1.0] * 2001, False, "2000 points at most and there are 2001"),
    ],
)
def test_points_that_no_law_fits_are_refused(
    x: list[float], y: list[float], offset: bool, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        fit_curve(np.array(x), np.array(y), offset)
