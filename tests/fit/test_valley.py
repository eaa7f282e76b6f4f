"""Which runs a parabola is laid through, and what each counts."""

from __future__ import annotations

import numpy as np
import pytest

from fit.errors import UserError
from fit.valley import ParabolaOptions, fit_valley
from tests.simulated import BUDGETS, TOKENS, parabolas


def test_a_window_keeps_the_runs_near_the_lowest_loss() -> None:
    """Truth: sizes within a factor of 3 of the lowest, and numpy.polyfit through them."""
    runs = parabolas(sizes=13, noise=0.003)
    valley = fit_valley(runs, BUDGETS[0], "tokens", ParabolaOptions(window=3))
    lowest = valley.sizes[np.argmin(valley.losses)]
    near = np.abs(np.log(valley.sizes / lowest)) <= np.log(3) + 1e-9
    assert list(valley.used) == list(near)
    a, b, _ = np.polyfit(np.log(valley.sizes[near]), valley.losses[near], 2)
    assert valley.optimum == pytest.approx(np.exp(-b / (2 * a)))


def test_weights_near_the_minimum_are_tricube() -> None:
    """Truth: numpy.polyfit with the square roots of Cleveland's weights."""
    runs = parabolas(sizes=13, noise=0.003)
    valley = fit_valley(runs, BUDGETS[0], "tokens", ParabolaOptions(weights="near"))
    distance = np.abs(np.log(valley.sizes / valley.sizes[np.argmin(valley.losses)]))
    weight = (1 - (distance / (1.05 * distance.max())) ** 3) ** 3
    a, b, _ = np.polyfit(np.log(valley.sizes), valley.losses, 2, w=np.sqrt(weight))
    assert valley.optimum == pytest.approx(np.exp(-b / (2 * a)))


def test_one_bad_run_moves_a_robust_minimum_by_a_tenth_of_what_it_moves_the_plain_one() -> None:
    runs = parabolas(sizes=9, noise=0.0005)
    runs.loss[8] += 0.1
    plain = fit_valley(runs, BUDGETS[0], "tokens").optimum
    robust = fit_valley(runs, BUDGETS[0], "tokens", ParabolaOptions(robust=True)).optimum
    assert plain is not None
    assert robust is not None
    truth = TOKENS(BUDGETS[0])
    assert abs(np.log(robust / truth)) < 0.1 * abs(np.log(plain / truth))


def test_the_gradient_of_the_minimum_is_that_of_a_fit_done_anew() -> None:
    """Truth: finite differences."""
    runs = parabolas(noise=0.005)
    valley = fit_valley(runs, BUDGETS[0], "tokens", ParabolaOptions(window=5, weights="near"))
    gradient = valley.minimum_gradient(valley.coefficients)
    losses = valley.losses + 1e-6 * np.eye(len(valley.losses))
    base = valley.minima_of(valley.losses[None])[0]
    assert gradient == pytest.approx((valley.minima_of(losses) - base) / 1e-6, rel=1e-3, abs=1e-3)


def test_noise_moves_an_off_centre_minimum_outwards_by_what_second_order_says() -> None:
    """Truth: the mean of ln D* over 200,000 noisy samples of one valley."""
    runs = parabolas(sizes=9, centre=2.0, budgets=BUDGETS[:1])
    valley = fit_valley(runs, BUDGETS[0], "tokens")
    assert valley.optimum is not None
    noisy = valley.losses + 0.02 * np.random.default_rng(0).standard_normal((200_000, 9))
    moved = np.nanmean(valley.minima_of(noisy)) - np.log(valley.optimum)
    assert valley.minimum_excess(valley.coefficients, 0.02) == pytest.approx(moved, rel=0.15)


def test_runs_of_nearly_one_size_are_one_size_and_a_long_row_of_them_is_many() -> None:
    """Truth: 5,000 sizes span 36x, though each is within a thousandth of the next; three pairs of twins, six runs."""
    row = parabolas(sizes=5000, budgets=BUDGETS[:1])
    assert fit_valley(row, BUDGETS[0], "tokens").optimum == pytest.approx(TOKENS(BUDGETS[0]))
    for sizes, status in ((3, "ok"), (2, "too-few-sizes")):
        twins = parabolas(sizes=sizes, budgets=BUDGETS[:1], seeds=2)
        twins.tokens[::2] *= 1.0005
        assert fit_valley(twins, BUDGETS[0], "tokens").status == status


@pytest.mark.parametrize("window", [1.0, 0.5, float("nan")])
def test_a_window_is_a_factor_above_one(window: float) -> None:
    with pytest.raises(UserError, match="a factor above 1 is expected"):
        ParabolaOptions(window=window)


def test_weights_of_another_name_are_refused() -> None:
    with pytest.raises(UserError, match="the weights are 'nearr'; choose one of equal, near"):
        ParabolaOptions(weights="nearr")  # type: ignore[arg-type]
