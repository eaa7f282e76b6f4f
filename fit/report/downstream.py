"""From loss to accuracy, as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from fit.downstream import Link
from fit.losslaw import LossLaw
from fit.report.losslaw import render_loss_law
from fit.report.numbers import interval


def render_downstream(link: Link, law: LossLaw | None, flops: Sequence[float]) -> str:
    """The sigmoid and, where there is a loss law, the loss and the accuracy at each of `flops`."""
    floor = "fitted" if link.chance is None else "given"
    low, high = float(link.loss.min()), float(link.loss.max())
    lines = [
        f"Accuracy by loss, a sigmoid through {len(link.loss)} models",
        f"  from {link.floor:.3g} ({floor}) at high loss to {link.ceiling:.3g} at low loss",
        f"  its middle at {link.midpoint:.4g} nats, its slope {link.slope:.3g} a nat",
        f"  scatter about it {link.residual_sd:.3g} (standard deviation)",
    ]
    if law is None:
        return "\n".join(lines)
    lines += [
        "",
        render_loss_law(law, flops),
        "",
        "Accuracy at these budgets, the loss's interval carried through",
    ]
    for at in flops:
        loss = law.predict(at)
        accuracy = link.through(loss)
        beyond = "" if low <= loss.value <= high else "; the loss lies beyond the models"
        lines.append(f"  {at:.3g} FLOPs: {accuracy.value:.3f} {interval(accuracy.ci95)}{beyond}")
    return "\n".join(lines)
