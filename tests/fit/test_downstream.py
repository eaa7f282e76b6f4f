"""From loss to accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from fit.downstream import Link, fit_link
from fit.errors import UserError
from fit.powerlaw import Estimate

LOSS = np.linspace(2.0, 3.2, 10)


def accuracy_of(loss: np.ndarray | float, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Chance of four answers, 0.9 at best, the middle at 2.5 nats."""
    curve = 0.25 + 0.65 / (1 + np.exp(-6 * (2.5 - np.asarray(loss))))
    return np.asarray(curve + noise * np.random.default_rng(seed).standard_normal(np.shape(loss)))


@pytest.mark.parametrize("chance", [None, 0.25])
def test_a_sigmoid_without_noise_is_found_again(chance: float | None) -> None:
    """Truth: the sigmoid."""
    link = fit_link(LOSS, accuracy_of(LOSS), chance)
    found = (link.floor, link.ceiling, link.midpoint, link.slope)
    assert found == pytest.approx((0.25, 0.9, 2.5, 6), rel=1e-5)
    assert link.value(1.9) == pytest.approx(float(accuracy_of(1.9)), rel=1e-6)


@pytest.mark.parametrize("chance", [None, 0.25])
def test_the_least_squares_are_those_of_scipy(chance: float | None) -> None:
    """Truth: scipy.optimize.least_squares over all unknowns at once, inside their bounds."""
    accuracy = accuracy_of(LOSS, noise=0.01)

    def residuals(unknowns: np.ndarray) -> np.ndarray:
        ceiling, midpoint, slope = unknowns[:3]
        floor = unknowns[3] if chance is None else chance
        return np.asarray(accuracy - floor - (ceiling - floor) / (1 + np.exp(-slope * (midpoint - LOSS))))

    witness = least_squares(residuals, [0.9, 2.5, 6.0, 0.25][: 4 if chance is None else 3], xtol=1e-14)
    link = fit_link(LOSS, accuracy, chance)
    assert link.squares == pytest.approx(2 * witness.cost, rel=1e-6)
    assert (link.ceiling, link.midpoint, link.slope) == pytest.approx(tuple(witness.x[:3]), rel=1e-3)


def test_intervals_hold_95_times_in_100() -> None:
    """Truth: 60 simulated benchmarks of a known sigmoid, below the lowest loss that is known."""
    held = 0
    for seed in range(60):
        ci95 = fit_link(LOSS, accuracy_of(LOSS, 0.01, seed), 0.25).predict(1.9).ci95
        assert ci95 is not None
        held += ci95[0] <= float(accuracy_of(1.9)) <= ci95[1]
    assert held >= 54


def test_an_uncertain_loss_makes_the_accuracy_uncertain() -> None:
    """Truth: the worse ends of both; a sure loss gives the sigmoid's own interval."""
    link = fit_link(LOSS, accuracy_of(LOSS, noise=0.01), 0.25)
    sure = link.through(Estimate(2.3, (2.3, 2.3)))
    assert sure == link.predict(2.3)
    unsure = link.through(Estimate(2.3, (2.2, 2.4))).ci95
    assert unsure is not None
    assert sure.ci95 is not None
    assert (
        unsure[0]
        < float(accuracy_of(2.4))
        < sure.ci95[0]
        < sure.ci95[1]
        < float(accuracy_of(2.2))
        < unsure[1]
    )
    assert link.through(Estimate(2.3, None)).ci95 is None


def test_accuracies_stay_between_chance_and_one() -> None:
    link = fit_link(LOSS, np.clip(accuracy_of(LOSS, noise=0.05), 0, 1), 0.25)
    for loss in (0.5, 1.5, 2.5, 6.0):
        ci95 = link.predict(loss).ci95
        assert ci95 is not None
        assert 0.25 <= ci95[0] <= ci95[1] <= 1


def test_far_above_the_losses_the_accuracy_is_the_floor_and_as_uncertain() -> None:
    """Truth: the floor of 0.25, and an interval that no longer changes with the loss."""
    link = fit_link(LOSS, accuracy_of(LOSS, noise=0.01))
    near, far = link.predict(7.0).ci95, link.predict(1e6).ci95
    assert near is not None
    assert far is not None
    assert far[0] < 0.25 < far[1]
    assert far[1] - far[0] > 0.01
    assert far == pytest.approx(near, abs=1e-3)


@pytest.mark.parametrize(
    ("loss", "accuracy", "chance", "message"),
    [
        (LOSS, 0.5 + 0.01 * (-1.0) ** np.arange(10), 0.25, "does not fall with the loss beyond its scatter"),
        (LOSS, accuracy_of(LOSS)[::-1], 0.25, "does not fall"),
        (
            np.linspace(3.0, 4.0, 10),
            accuracy_of(np.linspace(2.6, 3.6, 10), 1e-3),
            0.25,
            "lie above the middle .* lower loss",
        ),
        (LOSS, 100 * accuracy_of(LOSS), None, "accuracy holds .* divide percents by 100"),
        (LOSS, accuracy_of(LOSS), 1.5, "--chance is 1.5"),
        (LOSS[:4], accuracy_of(LOSS[:4]), None, "needs 5 models of different loss and there are 4"),
        (LOSS[:3], accuracy_of(LOSS[:3]), 0.25, "needs 4 models of different loss and there are 3"),
    ],
)
def test_models_that_show_no_sigmoid_are_refused(
    loss: np.ndarray, accuracy: np.ndarray, chance: float | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        fit_link(loss, accuracy, chance)


def test_a_link_says_how_many_degrees_of_freedom_it_has() -> None:
    link: Link = fit_link(LOSS, accuracy_of(LOSS), 0.25)
    assert link.freedom == 7
    assert fit_link(LOSS, accuracy_of(LOSS)).freedom == 6
