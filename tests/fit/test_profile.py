"""Variable projection in one dimension and its profiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, least_squares

from fit.profile import Form, Points, best, crossing, exponent_interval, value_interval

LOG_U = np.linspace(-3.0, 3.0, 9)


def points(floor: float, height: float, alpha: float, noise: float = 0.0, relative: bool = False) -> Points:
    random = np.random.default_rng(0)
    y = floor + height * np.exp(-alpha * LOG_U) + noise * random.standard_normal(len(LOG_U))
    return Points(LOG_U, y, np.ones_like(y), relative)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 5), st.floats(0.1, 5), st.floats(0.05, 2), st.booleans())
def test_a_curve_without_noise_is_found_again(
    floor: float, height: float, alpha: float, relative: bool
) -> None:
    """Truth: the curve."""
    found = best(points(floor, height, alpha, relative=relative), "offset")
    assert found.alpha == pytest.approx(alpha, rel=1e-5)
    assert found.height == pytest.approx(height, rel=1e-4)
    assert found.floor == pytest.approx(floor, abs=1e-4)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("form", ["offset", "power"])
def test_the_least_squares_are_those_of_scipy(form: Form, relative: bool) -> None:
    """Truth: scipy.optimize.least_squares over all unknowns at once."""
    data = points(1.0, 2.0, 0.3, noise=0.05, relative=relative)

    def residuals(unknowns: np.ndarray) -> np.ndarray:
        fit = (unknowns[2] if form == "offset" else 0.0) + unknowns[0] * np.exp(-unknowns[1] * LOG_U)
        return np.asarray(np.log(data.y / fit) if relative else data.y - fit)

    start = [2.0, 0.3, 1.0] if form == "offset" else [3.0, 0.2]
    witness = least_squares(residuals, start, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    found = best(data, form)
    assert found.squares == pytest.approx(2 * witness.cost, rel=1e-9)
    assert (found.height, found.alpha) == pytest.approx(tuple(witness.x[:2]), rel=1e-5)


def test_a_floor_below_zero_is_held_at_zero() -> None:
    """Truth: y = 5·u^-0.3 - 1 bends the other way, so that its best law with a floor is the plain one."""
    data = Points(LOG_U, 5 * np.exp(-0.3 * LOG_U) - 1, np.ones_like(LOG_U), False)
    found = best(data, "offset")
    assert found.floor == 0
    assert found.squares == pytest.approx(best(data, "power").squares)


@pytest.mark.parametrize("relative", [False, True])
def test_profile_intervals_end_where_the_squares_of_a_witness_reach_the_bound(relative: bool) -> None:
    """Truth: scipy.optimize.least_squares with the value held, and its root; Student's t of 6 is 2.4469."""
    data = points(1.0, 2.0, 0.3, noise=0.03, relative=relative)
    found = best(data, "offset")
    bound = found.squares * (1 + 2.446912**2 / 6)

    def squares(value: float, log_u: float) -> float:
        def residuals(unknowns: np.ndarray) -> np.ndarray:
            height, alpha = unknowns
            fit = value + height * (
                np.exp(-alpha * LOG_U) - (0 if np.isinf(log_u) else np.exp(-alpha * log_u))
            )
            return np.asarray(np.log(data.y / fit) if relative else data.y - fit)

        return float(2 * least_squares(residuals, [found.height, found.alpha]).cost - bound)

    for log_u, centre in ((np.inf, found.floor), (5.0, found.value(5.0))):
        low, high = value_interval(data, "offset", found, log_u, 6)
        assert low == pytest.approx(brentq(squares, centre - 0.5, centre, args=(log_u,)), abs=2e-3)
        assert high == pytest.approx(brentq(squares, centre, centre + 0.5, args=(log_u,)), abs=2e-3)


def test_intervals_are_open_where_the_points_say_nothing() -> None:
    """Truth: losses that do not fall leave any floor from zero, and any exponent, in question."""
    random = np.random.default_rng(1)
    data = Points(LOG_U, 2 + 0.3 * random.standard_normal(len(LOG_U)), np.ones_like(LOG_U), False)
    found = best(data, "offset")
    low, high = exponent_interval(data, "offset", found, 6)
    assert low == 0
    assert high == np.inf
    assert value_interval(data, "offset", found, np.inf, 6)[0] == 0


@pytest.mark.parametrize("relative", [False, True])
def test_a_height_far_below_the_points_has_an_interval_about_it(relative: bool) -> None:
    """Truth: the curve at e^-100 of the points' x, where it is 1e22 times as high and its floor lost in rounding."""
    data = points(1.0, 2.0, 0.5, noise=0.001, relative=relative)
    found = best(data, "offset")
    low, high = value_interval(data, "offset", found, -100.0, 6)
    assert low < found.value(-100.0) < high
    assert low < 1 + 2 * np.exp(0.5 * 100) < high
    assert high < 1.2 * low


def test_where_rounding_hides_the_curve_itself_nothing_is_known() -> None:
    """Truth: squares that are beyond the bound wherever one looks."""
    assert crossing(lambda value: 1.0, 5.0, -1.0, 0.0) == 0.0
    assert crossing(lambda value: 1.0, 5.0, 1.0, np.inf) == np.inf


def test_a_crossing_is_found_however_small_its_centre_is() -> None:
    """Truth: a step just above a centre that is zero but for 200 digits."""
    assert crossing(lambda value: 1.0 if value > 1e-200 else -1.0, 1e-200, 0.1, 1.0) == pytest.approx(
        0, abs=1e-12
    )


def test_points_on_a_curve_to_rounding_have_intervals_of_rounding() -> None:
    data = points(1.0, 2.0, 0.3)
    found = best(data, "offset")
    low, high = value_interval(data, "offset", found, np.inf, 6)
    assert low <= found.floor <= high
    assert high - low < 1e-6
