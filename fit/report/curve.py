"""A power law through any points as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from fit.curve import Curve
from fit.curve_checks import MOST_LEFT_OUT, CurveChecks
from fit.report.numbers import interval
from fit.statistics import decades_beyond

BROKEN = 0.05


def render_curve(curve: Curve, checks: CurveChecks, x: str, y: str, predict: Sequence[float]) -> str:
    """The law of `y` by `x`, what of a floor, the checks, and the law at each of `predict`."""
    parts = [_law(curve, x, y), _checks(curve, checks, x), _predictions(curve, x, y, predict)]
    return "\n\n".join(part for part in parts if part)


def floor_sentence(curve: Curve) -> str:
    """Whether the points support a floor, and what follows; empty where none was asked for."""
    tested = "" if curve.floor_p is None else f"F-test of E = 0: p = {curve.floor_p:.2g}"
    ci95 = interval(curve.floor_ci95)
    plain = "the law is the plain one, and every interval spans both forms"
    return {
        "not-asked": "",
        "supported": f"the points support a floor: E = {curve.floor:.4g} {ci95} ({tested})",
        "undecided": f"the points do not tell a floor from none ({tested}; 95% of E {ci95}): {plain}",
        "no-fall": "y does not fall as x grows, so it has no floor to fall to: the law is the plain one",
        "undetermined": f"the points bend away from a plain law ({tested}) but leave the exponent open: {plain}",
    }[curve.floor_state]


def _law(curve: Curve, x: str, y: str) -> str:
    floor = f"{curve.floor:.4g} + " if curve.form == "offset" else ""
    errors = "a share of it" if curve.space == "log" else "of one size"
    lines = [
        f"{y} = {floor}{curve.coefficient:.4g}·{x}^{curve.exponent:.4f}, {len(curve.x)} points, errors {errors}",
        f"  exponent {interval(curve.exponent_ci95)} (95%)",
    ]
    if curve.exponent_ci95 is None:
        lines.append("  as many points as unknowns lie on their law whatever they are: add points")
    if curve.residual_sd is not None:
        unit = f"{curve.residual_sd:.2%}" if curve.space == "log" else f"{curve.residual_sd:.3g}"
        lines.append(f"  scatter about the law {unit} (standard deviation)")
    if curve.exact:
        lines.append("  the points lie on the law to rounding, and intervals and checks hold nothing else")
    lines.append(f"  {floor_sentence(curve)}" if floor_sentence(curve) else "")
    return "\n".join(line for line in lines if line)


def _checks(curve: Curve, checks: CurveChecks, x: str) -> str:
    lines = []
    for found in checks.hold_outs:
        without = f"the largest {x}" if found.held_out == 1 else f"the {found.held_out} largest {x}"
        lines.append(
            f"  hold-out: the law without {without} predicts {found.predicted / found.found:.4g}x what was found at "
            f"{found.x:.3g}"
        )
    if len(curve.x) > MOST_LEFT_OUT:
        lines.append(f"  more than {MOST_LEFT_OUT} points: none is left out alone")
    if checks.exponent_leave_one_out is not None:
        lines.append(
            f"  leaving one point out, the exponent runs over {interval(checks.exponent_leave_one_out, 4)}"
        )
    broken = checks.best_break
    if broken is not None:
        verdict = "no break is seen" if broken.p_value >= BROKEN else "the law breaks or bends"
        bends = broken.p_value < BROKEN and broken.change > 0 and curve.floor_state == "not-asked"
        lines.append(
            f"  {verdict}: the best, at {x} = {broken.x:.3g}, changes the exponent by {broken.change:+.3f} "
            f"(p = {broken.p_value:.2g}, its search included)"
            + ("; a floor would bend it so: try --offset" if bends and curve.exponent < 0 else "")
        )
    return "\n".join(["Checks", *lines]) if lines else ""


def _predictions(curve: Curve, x: str, y: str, predict: Sequence[float]) -> str:
    lines = []
    for at in predict:
        estimate = curve.predict(at)
        beyond = decades_beyond(at, float(curve.x.min()), float(curve.x.max()))
        reach = f", {beyond:.1f} decades beyond the points" if beyond > 0 else ""
        lines.append(f"  {x} = {at:.3g}: {y} = {estimate.value:.4g} {interval(estimate.ci95, 4)}{reach}")
    return "\n".join(["Predictions, with 95% intervals of the law", *lines]) if lines else ""
