"""Hold-outs, leave-one-out, and the test for a break."""

from __future__ import annotations

import numpy as np
import pytest

from fit.curve import fit_curve
from fit.curve_checks import best_break, check_curve

X = np.geomspace(1, 1e4, 9)


def test_hold_outs_are_the_law_of_the_rest() -> None:
    """Truth: numpy.polyfit on the points without the largest one and two."""
    y = 3 * X**0.5 * np.exp(0.1 * np.random.default_rng(0).standard_normal(9))
    for found in check_curve(fit_curve(X, y)).hold_outs:
        rest = np.polyfit(np.log(X[: -found.held_out]), np.log(y[: -found.held_out]), 1)
        assert found.predicted == pytest.approx(np.exp(np.polyval(rest, np.log(X[-1]))))
        assert (found.x, found.found) == (X[-1], y[-1])


def test_leaving_one_out_is_the_range_of_the_exponents_without_each() -> None:
    """Truth: numpy.polyfit on the rest."""
    y = 3 * X**0.5 * np.exp(0.1 * np.random.default_rng(1).standard_normal(9))
    slopes = [np.polyfit(np.log(np.delete(X, i)), np.log(np.delete(y, i)), 1)[0] for i in range(9)]
    assert check_curve(fit_curve(X, y)).exponent_leave_one_out == pytest.approx((min(slopes), max(slopes)))


def test_a_broken_law_is_seen_where_it_breaks() -> None:
    """Truth: y = x^0.5 up to 100 and x^0.2 beyond."""
    y = np.where(X <= 100, X**0.5, 100**0.3 * X**0.2)
    y = y * np.exp(0.01 * np.random.default_rng(2).standard_normal(9))
    found = check_curve(fit_curve(X, y)).best_break
    assert found is not None
    assert found.x == pytest.approx(100)
    assert found.change == pytest.approx(-0.3, abs=0.03)
    assert found.p_value < 0.001


def test_a_floor_is_a_break_of_the_plain_law_and_none_of_its_own() -> None:
    y = 1.7 + 2 * X**-0.25 + 0.005 * np.random.default_rng(3).standard_normal(9)
    plain = check_curve(fit_curve(X, y)).best_break
    bent = check_curve(fit_curve(X, y, offset=True, space="linear")).best_break
    assert plain is not None
    assert bent is not None
    assert plain.p_value < 0.01 < bent.p_value


@pytest.mark.parametrize(("n", "offset"), [(5, False), (8, False), (8, True)])
def test_an_unbroken_law_is_called_broken_5_times_in_100(n: int, offset: bool) -> None:
    """Truth: p-values of 200 laws without a break are uniform: 5% below 0.05, half below 0.5."""
    random = np.random.default_rng(4)
    x = np.geomspace(1, 1e4, n)
    p_values = []
    for _ in range(200):
        y = 1.7 * offset + 2 * x**-0.25
        y = y + 0.005 * random.standard_normal(n) if offset else y * np.exp(0.1 * random.standard_normal(n))
        curve = fit_curve(x, y, offset, "linear" if offset else "log")
        found = best_break(curve)
        assert found is not None
        p_values.append(found.p_value)
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.04)
    assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.1)


def test_few_points_are_checked_for_what_they_can_say() -> None:
    three = check_curve(fit_curve(X[:3], X[:3] ** 0.5))
    assert (three.hold_outs, three.best_break) == ((), None)
    assert three.exponent_leave_one_out == pytest.approx((0.5, 0.5))
    assert check_curve(fit_curve(X[:2], X[:2])).exponent_leave_one_out is None


def test_a_check_whose_points_hardly_differ_is_left_out() -> None:
    """Truth: without the largest, x runs over a ten-thousandth."""
    x = np.array([1.0, 1.00005, 1.0001, 10.0])
    checks = check_curve(fit_curve(x, x**0.5))
    assert (checks.hold_outs, checks.exponent_leave_one_out) == ((), None)


def test_points_on_the_law_to_rounding_say_nothing_of_a_break() -> None:
    assert check_curve(fit_curve(X, X**0.5)).best_break is None
