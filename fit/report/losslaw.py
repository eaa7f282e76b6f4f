"""The loss law as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from fit.losslaw import LEAST_FOR_FLOOR, LossLaw
from fit.report.curve import floor_sentence
from fit.report.numbers import interval


def render_loss_law(law: LossLaw, flops: Sequence[float]) -> str:
    """The law, what the optima say of its floor, and the lowest loss at each of `flops`."""
    curve = law.curve
    floor = "" if law.floor is None else f"{law.floor:.4g} + "
    asked = floor_sentence(curve)
    if curve.floor_state == "not-asked":
        asked = (
            f"no floor is fitted, and no interval allows for one: that needs {LEAST_FOR_FLOOR} optima and there are "
            f"{len(curve.x)}"
        )
    lines = [
        "Loss law, the lowest loss of a budget",
        f"  L*(C) = {floor}{law.coefficient:.4g}·C^-{law.exponent:.4f}   γ {interval(law.exponent_ci95)}"
        if law.exponent > 0
        else f"  the lowest loss does not fall with compute: L*(C) = {law.coefficient:.4g}·C^{-law.exponent:.4f}",
        f"  {asked}",
    ]
    for at in flops:
        estimate = law.predict(at)
        lines.append(f"  {at:.3g} FLOPs: {estimate.value:.4f} nats {interval(estimate.ci95, 4)}")
    return "\n".join(lines)
