"""What the text says of the loss law."""

from __future__ import annotations

import numpy as np

from fit.losslaw import fit_loss_law
from fit.report.losslaw import render_loss_law

FLOPS = np.geomspace(1e18, 1e21, 6)


def test_the_law_its_floor_and_the_loss_of_a_budget_are_printed() -> None:
    """Truth: L* = 1.7 + 2·(C/1e18)^-0.25, 1.9 nats at 1e22."""
    text = render_loss_law(fit_loss_law(FLOPS, 1.7 + 2 * (FLOPS / 1e18) ** -0.25), [1e22])
    for part in ("L*(C) = 1.7 + ", "·C^-0.2500", "support a floor: E = 1.7", "1e+22 FLOPs: 1.9000 nats"):
        assert part in text


def test_too_few_optima_for_a_floor_are_said_to_allow_for_none() -> None:
    text = render_loss_law(fit_loss_law(FLOPS[:4], 2 * (FLOPS[:4] / 1e18) ** -0.1), [])
    assert "no interval allows for one: that needs 5 optima and there are 4" in text


def test_a_loss_that_rises_with_compute_is_said_so() -> None:
    text = render_loss_law(fit_loss_law(FLOPS, 2 * (FLOPS / 1e18) ** 0.1), [])
    assert "does not fall with compute" in text
