"""The lowest loss of each budget as a law of compute: L*(C) = E + A·C^-γ, with E where the optima support one.

On the surface of Hoffmann et al. (arXiv 2203.15556, eq. 10) the lowest loss of a budget is exactly of this form, with
γ = alpha·beta/(alpha + beta).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fit.curve import Curve, fit_curve
from fit.errors import UserError
from fit.powerlaw import Estimate
from fit.statistics import Interval

LEAST_FOR_FLOOR = 5
"""Optima; with four, three unknowns leave one degree of freedom, whose Student's t is 12.7 standard errors."""


@dataclass(frozen=True)
class LossLaw:
    """L*(C) = floor + coefficient·C^-exponent, in nats a token; the floor is None where the optima support none."""

    curve: Curve
    """Through the optima, by least squares in nats."""

    @property
    def floor(self) -> float | None:
        return self.curve.floor if self.curve.form == "offset" else None

    @property
    def floor_ci95(self) -> Interval | None:
        """From zero where the plain power law will do; None where too few optima ask for none."""
        return self.curve.floor_ci95

    @property
    def coefficient(self) -> float:
        return self.curve.coefficient

    @property
    def exponent(self) -> float:
        """γ, positive where the loss falls with compute."""
        return -self.curve.exponent

    @property
    def exponent_ci95(self) -> Interval | None:
        """Of both forms where the floor is undecided."""
        ci95 = self.curve.exponent_ci95
        return None if ci95 is None else (-ci95[1], -ci95[0])

    def predict(self, flops: float) -> Estimate:
        """The lowest loss at `flops` and 95% of it, which spans both forms where the floor is undecided."""
        return self.curve.predict(flops)


def fit_loss_law(flops: np.ndarray, loss: np.ndarray) -> LossLaw:
    """The law of (k,) lowest losses, in nats, at (k,) budgets.

    All count alike. With fewer than LEAST_FOR_FLOOR budgets no floor is asked for. UserError with fewer than two
    budgets, or a loss that is not positive.
    """
    different = len(np.unique(flops))
    return LossLaw(fit_curve(flops, loss, different >= LEAST_FOR_FLOOR, "linear"))


def loss_law_to_dict(law: LossLaw) -> dict[str, Any]:
    """For a fit's JSON, under "loss_law": the law as numbers, and the optima that its intervals follow from."""
    curve = law.curve
    return {
        "floor": law.floor,
        "floor_ci95": law.floor_ci95,
        "floor_state": curve.floor_state,
        "floor_p": curve.floor_p,
        "coefficient": law.coefficient,
        "exponent": law.exponent,
        "exponent_ci95": law.exponent_ci95,
        "residual_sd": curve.residual_sd,
        "optima": {"flops": curve.x.tolist(), "loss": curve.y.tolist()},
    }


def loss_law_from_dict(content: Mapping[str, Any]) -> LossLaw:
    """The law again, with its intervals, from its optima. ValueError where `content` is no such law."""
    try:
        optima = content["optima"]
        flops, loss = (np.asarray(optima[name], dtype=float) for name in ("flops", "loss"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no optima: {error}") from None
    return fit_loss_law(flops, loss)


def loss_law_of(content: Any, path: Path) -> LossLaw:
    """That of a fit's JSON, read from `path`. UserError where it has none."""
    law = content.get("loss_law") if isinstance(content, dict) else None
    if law is None:
        raise UserError(
            f"law file '{path}' holds no loss law; write one with python -m fit isoflop RUNS --json FILE, from budgets "
            f"that have a minimum"
        )
    try:
        return loss_law_from_dict(law)
    except ValueError as error:
        raise UserError(
            f"the loss law of '{path}' can't be used ({error}); write the file anew with python -m fit isoflop"
        ) from None
