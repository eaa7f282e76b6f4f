"""What is wrong with the valley of one budget along one axis."""

from __future__ import annotations

import numpy as np

from fit.diagnostics.finding import Warning_, runs
from fit.intervals import borrows_noise
from fit.valley import Valley

POOR_R2 = 0.9
OFF_CENTRE = 0.2
"""A minimum in the outer fifth of the grid, in log size, is off-centre."""
SHALLOW = 2.0
"""A valley shallower than this many standard deviations of the noise is no valley."""
LEAST_A_SIDE = 2
"""One run a side fixes its arm of the parabola through itself, noise and all."""
LOST = 0.05
"""Where more resamples than this have no minimum inside the grid, the interval is cut off by its edges."""


def valley_findings(
    valley: Valley, lost: float, seed_sd: float | None, run_sd: float | None
) -> list[Warning_]:
    """Of one budget along one axis.

    lost: share of resamples without a minimum. seed_sd, run_sd: nats, the noise of equal cells, and that of the runs
    about their parabolas, which stands in where no cell was repeated.
    """
    return _of_shape(valley, seed_sd, run_sd) + _of_interval(valley, lost)


def place(valley: Valley) -> float | None:
    """Where the minimum lies between the smallest (0) and the largest (1) size, in log."""
    if valley.optimum is None:
        return None
    low, high = np.log(valley.sizes.min()), np.log(valley.sizes.max())
    return float((np.log(valley.optimum) - low) / (high - low))


def _of_shape(valley: Valley, seed_sd: float | None, run_sd: float | None) -> list[Warning_]:
    def warn(code: str, text: str) -> Warning_:
        return Warning_(code, f"{valley.axis}: {text}", valley.budget)

    if valley.status == "too-few-sizes":
        return [warn("too-few-sizes", "fewer than 3 different sizes; left out of the law: train more")]
    if valley.status == "opens-downward":
        return [
            warn(
                "opens-downward",
                "the parabola has no minimum; left out of the law: look at the runs, widen the grid",
            )
        ]
    if valley.status == "edge-minimum":
        side = "smaller" if valley.coefficients[1] > 0 else "larger"
        return [
            warn(
                "edge-minimum",
                f"the loss is still falling at the edge of the grid; left out of the law: train "
                f"at {side} {valley.axis}",
            )
        ]
    found = []
    if valley.r2 < POOR_R2:
        found.append(
            warn(
                "poor-fit",
                f"R² is {valley.r2:.3f}: the runs do not lie on a parabola; add seeds or narrow the grid",
            )
        )
    if (noise := seed_sd if seed_sd is not None else run_sd) and valley.depth < SHALLOW * noise:
        whose = "the seed noise" if seed_sd is not None else "the noise of the runs about their parabolas"
        found.append(
            warn(
                "shallow-valley",
                f"the valley is {valley.depth:.4f} nats deep and {whose} {noise:.4f}; widen the grid or add seeds",
            )
        )
    if (share := place(valley)) is not None and not OFF_CENTRE <= share <= 1 - OFF_CENTRE:
        side = "smaller" if share < OFF_CENTRE else "larger"
        found.append(
            warn(
                "off-centre",
                f"the minimum lies in the outer fifth of the grid; add runs at {side} {valley.axis}",
            )
        )
    return found + [warn("one-sided", text) for text in _sides(valley)]


def _sides(valley: Valley) -> list[str]:
    sizes = valley.sizes[valley.used]
    found = []
    for side, count in (
        ("smaller", int(np.sum(sizes < valley.optimum))),
        ("larger", int(np.sum(sizes > valley.optimum))),
    ):
        if count < LEAST_A_SIDE:
            found.append(
                f"{runs(count, 'lies', 'lie')} at {side} {valley.axis} than the minimum, so that side of the valley is "
                f"hardly seen: add runs there"
            )
    return found


def _of_interval(valley: Valley, lost: float) -> list[Warning_]:
    found = []
    if borrows_noise(valley):
        text = (
            "its runs lie on their parabola and say nothing of their noise; its interval borrows that of the other "
            "budgets: add runs"
        )
        found.append(Warning_("few-runs", f"{valley.axis}: {text}", valley.budget))
    if lost > LOST:
        text = (
            f"in {lost:.0%} of the resamples the minimum leaves the grid, so its interval is too narrow; widen the "
            f"grid or add seeds"
        )
        found.append(Warning_("unsure-minimum", f"{valley.axis}: {text}", valley.budget))
    return found
