"""The lowest loss by compute."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fit.losslaw import fit_loss_law, loss_law_from_dict, loss_law_to_dict
from tests.simulated import BUDGETS, Surface

SURFACE = Surface()
GAMMA = SURFACE.alpha * SURFACE.beta / (SURFACE.alpha + SURFACE.beta)


def lowest(flops: np.ndarray) -> np.ndarray:
    """(k,) nats of the surface where its derivative along C = 6·N·D is zero."""
    tokens = np.array([SURFACE.tokens_law()(one) for one in flops])
    return SURFACE.loss(flops / (6 * tokens), tokens)


def test_the_optima_of_a_surface_give_its_floor_and_its_exponent() -> None:
    """Truth: L* = E + const·C^-(αβ/(α+β)) in closed form, on Hoffmann's surface."""
    law = fit_loss_law(np.array(BUDGETS), lowest(np.array(BUDGETS)))
    assert law.floor == pytest.approx(SURFACE.floor, rel=1e-6)
    assert law.exponent == pytest.approx(GAMMA, rel=1e-6)
    assert law.predict(1e24).value == pytest.approx(float(lowest(np.array([1e24]))[0]), rel=1e-6)


@pytest.mark.parametrize(("k", "span"), [(5, 256), (7, 256), (9, 4000)])
def test_a_prediction_holds_the_lowest_loss_of_100x_the_compute(k: int, span: float) -> None:
    """Truth: the surface's own; optima with 0.003 nats of noise, floor decided or not, 60 times."""
    random = np.random.default_rng(k)
    flops = np.geomspace(1e18, 1e18 * span, k)
    target = 100 * flops[-1]
    truth = float(lowest(np.array([target]))[0])
    held = 0
    for _ in range(60):
        ci95 = fit_loss_law(flops, lowest(flops) + 0.003 * random.standard_normal(k)).predict(target).ci95
        assert ci95 is not None
        held += ci95[0] <= truth <= ci95[1]
    assert held >= 54


def test_an_undecided_floor_is_not_claimed_and_the_interval_spans_both_forms() -> None:
    """Truth: a decade of compute, where noise of 0.01 nats hides the bend: the surface and the plain law both fit."""
    flops = np.geomspace(1e18, 1e19, 5)
    loss = lowest(flops) + 0.01 * np.random.default_rng(0).standard_normal(5)
    law = fit_loss_law(flops, loss)
    assert (law.floor, law.curve.floor_state) == (None, "undecided")
    assert law.floor_ci95 is not None
    assert law.floor_ci95[0] == 0
    estimate = law.predict(1e23)
    assert estimate.ci95 is not None
    assert estimate.ci95[0] < estimate.value < estimate.ci95[1]
    assert estimate.ci95[0] < float(lowest(np.array([1e23]))[0]) < estimate.ci95[1]


@pytest.mark.parametrize("k", [2, 3, 4])
def test_too_few_budgets_for_three_unknowns_have_the_plain_law(k: int) -> None:
    """Truth: log-log slope of two optima; with two there is no interval."""
    flops = np.geomspace(1e18, 1e20, k)
    law = fit_loss_law(flops, lowest(flops))
    assert (law.floor, law.curve.floor_state) == (None, "not-asked")
    assert (law.predict(1e22).ci95 is None) == (k == 2)
    if k == 2:
        assert law.exponent == pytest.approx(-np.diff(np.log(lowest(flops)))[0] / np.log(100))


def test_a_law_survives_json() -> None:
    law = fit_loss_law(np.array(BUDGETS), lowest(np.array(BUDGETS)) + np.array([2, -1, 0, 1, -2]) * 1e-3)
    content = json.loads(json.dumps(loss_law_to_dict(law)))
    assert content["floor"] == law.floor
    assert content["exponent"] == law.exponent > 0
    again = loss_law_from_dict(content)
    assert again.predict(1e23) == law.predict(1e23)


def test_a_law_of_an_earlier_version_is_read() -> None:
    """Whose optima held standard errors, which were always null."""
    law = fit_loss_law(np.array(BUDGETS), lowest(np.array(BUDGETS)))
    content = loss_law_to_dict(law)
    again = loss_law_from_dict({**content, "optima": {**content["optima"], "sd": None}})
    assert again.predict(1e23) == law.predict(1e23)


@pytest.mark.parametrize("content", [{}, [], 3, {"optima": None}, {"optima": {"flops": ["a"], "loss": [1]}}])
def test_json_that_is_no_loss_law_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match=r"optima|could not convert"):
        loss_law_from_dict(content)  # type: ignore[arg-type]
