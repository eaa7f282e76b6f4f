"""The same runs by several methods: their disagreement is information.

Hoffmann et al. (arXiv 2203.15556, section 3) set three approaches side by side; so is done here, with the choices that
a parabola leaves open beside the plain one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fit.aside import by_reason
from fit.axis import fit_axis
from fit.bias import BudgetCurve
from fit.curves import Curve
from fit.diagnostics.finding import named
from fit.envelope import fit_envelope
from fit.powerlaw import BareLaw, PowerLaw
from fit.statistics import Interval, ols, percentiles
from fit.surface import UNKNOWNS, Surface, SurfaceFit, fit_surface, resampled_surfaces
from fit.table import RunTable
from fit.valley import AXES, Axis, ParabolaOptions

WINDOWS = (2.5, 4.0, 8.0)
"""Factors about the lowest loss within which runs are kept, to see whether the choice moves the exponent."""
SURFACE_LOSSES = 2_000_000
"""Losses that the surface's bootstrap fits in all: large tables get fewer resamples, for they need fewer."""
FEWEST_RESAMPLES = 40
ENVELOPE_RESAMPLES = 200


PLAIN_T, RANDOM_EFFECTS = "plain t", "headline"
"""Student's t of the scatter of the budgets alone; the random-effects regression of the headline."""
RESIDUALS, RUNS, NONE = "residuals", "runs", "none"
"""Percentiles of a bootstrap of the surface's residuals; of one over runs; no interval."""


@dataclass(frozen=True)
class Approach:
    """One method's laws."""

    name: str
    laws: Mapping[Axis, BareLaw]
    """By axis; an axis without a law is missing."""
    interval: str
    """What its intervals are: PLAIN_T, RANDOM_EFFECTS, RESIDUALS, RUNS or NONE."""
    notes: tuple[str, ...] = ()
    """What it leaves out, and why it may mislead here."""


def approaches(
    table: RunTable,
    laws: Mapping[Axis, PowerLaw],
    surface: SurfaceFit | None,
    options: ParabolaOptions,
    resamples: int,
    seed: int,
    curves: Sequence[Curve] = (),
) -> tuple[Approach, ...]:
    """Parabolas as they were asked for, corrected, near the minimum and robust; the surface in squares and by Huber.

    laws: of the parabolas as they were asked for, by axis. curves: learning curves, for the envelope; none by default.
    """
    through = None if surface is None else surface.surface
    found = [Approach("parabola", {axis: _plain(law) for axis, law in laws.items()}, PLAIN_T)]
    corrected = {axis: _corrected(law) for axis, law in laws.items() if law.shift is not None}
    if corrected:
        found.append(Approach("parabola, less the grid's bias", corrected, RANDOM_EFFECTS))
    for name, other in (
        ("parabola, weighted near the minimum", replace(options, weights="near")),
        ("parabola, robust", replace(options, robust=True)),
    ):
        if other != options:
            found.append(Approach(name, _parabola_laws(table, through, other), PLAIN_T))
    if surface is not None and through is not None:
        count = min(resamples, max(FEWEST_RESAMPLES, SURFACE_LOSSES // len(table)))
        draws = resampled_surfaces(table.params, table.tokens, table.loss, through, count, seed)
        refuted = _refuted(laws)
        lost = _lost(count, len(draws))
        found.append(
            Approach(
                "surface, least squares", _surface_laws(table, through, draws), RESIDUALS, (*refuted, *lost)
            )
        )
        huber = fit_surface(table.params, table.tokens, table.loss, "huber")
        if huber.surface is not None and huber.converged:
            found.append(
                Approach(
                    "surface, Huber in log loss",
                    _surface_laws(table, huber.surface, np.empty((0, UNKNOWNS))),
                    NONE,
                    refuted,
                )
            )
    if curves:
        found.append(_envelope(curves, resamples, seed))
    return tuple(one for one in found if one.laws)


def window_range(table: RunTable, axis: Axis, options: ParabolaOptions, asked: PowerLaw) -> Interval | None:
    """The range of the exponent over WINDOWS and `asked`, the law of the window that was asked for.

    A window in which a budget has no minimum, or no run to spare, is passed over; None where all are.
    """
    exponents = []
    for window in WINDOWS:
        fitted = fit_axis(table, axis, surface=None, options=replace(options, window=window))
        spare = all(valley.used.sum() > 3 for valley in fitted.valleys if valley.optimum is not None)
        if fitted.law is not None and len(fitted.law.flops) == len(asked.flops) and spare:
            exponents.append(fitted.law.exponent)
    if not exponents:
        return None
    return min(*exponents, asked.exponent), max(*exponents, asked.exponent)


def _plain(law: PowerLaw) -> BareLaw:
    """With the interval that knows the scatter of the budgets alone, as papers print it."""
    return BareLaw(law.coefficient, law.exponent, law.parts["between"])


def _corrected(law: PowerLaw) -> BareLaw:
    return BareLaw(float(np.exp(law.line.value(0.0))), law.line.slope, law.exponent_ci95)


def _parabola_laws(table: RunTable, surface: Surface | None, options: ParabolaOptions) -> dict[Axis, BareLaw]:
    fitted = {axis: fit_axis(table, axis, surface=surface, options=options).law for axis in AXES}
    return {axis: _plain(law) for axis, law in fitted.items() if law is not None}


def _refuted(laws: Mapping[Axis, PowerLaw]) -> tuple[str, ...]:
    """Of the axes that the surface does not correct, for the parabolas leave the runs otherwise than it does."""
    axes = [axis for axis, law in laws.items() if law.shift is None]
    if not axes:
        return ()
    return (f"the valleys in {' and '.join(axes)} do not have the surface's shape: trust the parabolas",)


def _lost(asked: int, found: int) -> tuple[str, ...]:
    if found == asked:
        return ()
    return (f"{asked - found} of {asked} resamples give no surface, so its intervals are too narrow",)


def _envelope(curves: Sequence[Curve], resamples: int, seed: int) -> Approach:
    found = fit_envelope(curves, resamples=min(resamples, ENVELOPE_RESAMPLES), seed=seed)
    notes = []
    if found.at_edge > 0:
        notes.append(
            f"{found.at_edge:.0%} of its FLOPs are left out, for the run ahead is the smallest or the largest there"
        )
    if found.lost > 0:
        notes.append(f"{found.lost:.0%} of the resamples give no law, so its intervals are too narrow")
    notes += [
        f"{named([item.run_id for item in items])} set aside: {reason}"
        for reason, items in by_reason(found.set_aside).items()
    ]
    laws: dict[Axis, BareLaw] = {axis: found.laws[axis] for axis in AXES if axis in found.laws}
    return Approach("envelope of learning curves", laws, RUNS, tuple(notes))


def _surface_laws(table: RunTable, surface: Surface, draws: np.ndarray) -> dict[Axis, BareLaw]:
    """The surface's optima on the runs' own budgets, and the line through them; (r, 5) draws give its interval.

    By C = 6·N·D the line is exact; where FLOPs are counted otherwise it is the law of these budgets.
    """
    log_flops = np.log(table.budgets)
    optima = BudgetCurve.of(table).log_optima(np.vstack([surface.unknowns, draws]), log_flops)
    lines = {axis: ols(log_flops, found) for axis, found in optima.items()}
    return {
        axis: BareLaw(float(np.exp(line[0, 0])), float(line[0, 1]), percentiles(line[1:, 1]))
        for axis, line in lines.items()
    }
