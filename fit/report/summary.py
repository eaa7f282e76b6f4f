"""A fit as text for a terminal."""

from __future__ import annotations

from fit.approaches import PLAIN_T, RANDOM_EFFECTS, RESIDUALS, RUNS
from fit.aside import by_reason
from fit.conventions import ConventionFit
from fit.diagnostics.runs import is_derived
from fit.isoflop import Budget, IsoflopFit
from fit.powerlaw import Estimate, PowerLaw
from fit.references import LLAMA3
from fit.report.losslaw import render_loss_law
from fit.report.numbers import interval, short, short_interval
from fit.report.verdict import SYMBOL, render_verdict
from fit.statistics import Interval, decades_beyond
from fit.surface import SurfaceFit
from fit.valley import AXES, Axis, Valley

HEADER = (
    f"{'budget':>9} {'runs':>5} {'tokens':>9} {'95% interval':>18} {'params':>9} {'95% interval':>18} {'loss':>8} "
    f"{'R²':>6}  status"
)
CAUSES = {
    "within": "noise of the runs",
    "between": "scatter of the budgets",
    "leave_one_out": "one budget left out of the plain law",
    "window": "window of the parabolas",
    "grid": "bias of the grid",
}
KINDS = {
    PLAIN_T: "plain t, of the scatter of the budgets alone",
    RANDOM_EFFECTS: "headline, the regression above",
    RESIDUALS: "residuals, a bootstrap of the noise as if the surface's shape were true",
    RUNS: "runs, a bootstrap over runs",
}
CONVENTION_HEADER = (
    f"  {'':<6} {'params':<14} {'FLOPs':<9} {'A':>9} {'α':>6} {'corrected':>9} {'95% interval':>18}"
)
UNNAMED = "as given"
"""The table's own column, where it says no convention."""
MOST_NAMES = 10


def render(fit: IsoflopFit) -> str:
    """Optima, laws, each convention, predictions, checks, what can be concluded, and all that is wrong."""
    parts = [
        _optima(fit),
        _laws(fit),
        _approaches(fit),
        _conventions(fit),
        _predictions(fit),
        render_loss_law(fit.loss_law, [prediction.flops for prediction in fit.predictions]),
        "\n".join(check_lines(fit)),
        render_verdict(fit),
        _warnings(fit),
        _set_aside(fit),
    ]
    return "\n\n".join(part for part in parts if part)


def _optima(fit: IsoflopFit) -> str:
    lines = [
        "Optima, by a parabola of loss in log size at each budget",
        HEADER,
    ]
    lines += [_optimum_line(budget) for budget in fit.budgets]
    return "\n".join(lines)


def _optimum_line(budget: Budget) -> str:
    tokens, params = budget.tokens, budget.params
    loss = "-" if tokens.optimum_loss is None else f"{tokens.optimum_loss:.4f}"
    return (
        f"{budget.flops:>9.3g} {budget.runs:>5} {short(tokens.optimum):>9} "
        f"{short_interval(budget.optimum_ci95['tokens']):>18} {short(params.optimum):>9} "
        f"{short_interval(budget.optimum_ci95['params']):>18} {loss:>8} {_r2(tokens):>6}  {budget_status(budget)}"
    )


def _r2(valley: Valley) -> str:
    return "-" if valley.status == "too-few-sizes" else f"{valley.r2:.3f}"


def budget_status(budget: Budget) -> str:
    """One word where both axes agree."""
    tokens, params = budget.tokens, budget.params
    if tokens.status == params.status:
        return tokens.status
    return f"tokens {tokens.status}, params {params.status}"


def _laws(fit: IsoflopFit) -> str:
    lines = ["Laws, optimum = A·C^α, with 95% intervals"]
    for axis in AXES:
        law = fit.laws[axis]
        lines.append(f"  {axis:>6}  no law" if law is None else _law_line(axis, law))
        if law is not None:
            lines.append(_corrected_line(axis, law, fit.surface))
            lines.append(f"          what moves α: {_parts(law)}")
    lines.append(
        f"  Llama 3  D*(C) = {LLAMA3.tokens_coefficient}·C^{LLAMA3.tokens_exponent} ({LLAMA3.source})"
        f"{_where(fit.laws['tokens'])}"
    )
    return "\n".join(lines)


def _parts(law: PowerLaw) -> str:
    """One cause at a time; those that are not known are left out."""
    there = [f"{CAUSES[name]} {interval(part)}" for name, part in law.parts.items() if part is not None]
    return ", ".join(there) if there else "not known: no run and no budget is to spare"


def _law_line(axis: str, law: PowerLaw) -> str:
    law_text = f"{SYMBOL[axis]} = {law.coefficient:.3g}·C^{law.exponent:.3f}"
    return f"  {axis:>6}  {law_text:<24} by plain least squares, as laws are published"


def _corrected_line(axis: str, law: PowerLaw, surface: SurfaceFit | None) -> str:
    """The law that the intervals are about."""
    text = f"{SYMBOL[axis]} = {law.corrected_coefficient:.3g}·C^{law.corrected_exponent:.3f}"
    return (
        f"          {text:<24} α {interval(law.exponent_ci95)}   A {interval(law.coefficient_ci95)}   "
        f"{how_corrected(law, surface)}"
    )


def how_corrected(law: PowerLaw, surface: SurfaceFit | None) -> str:
    """Where there is no surface a warning says why."""
    if law.shift is not None:
        return "each budget by how sure it is, less what a parabola on this grid misses"
    if surface is None or surface.surface is None:
        return "each budget by how sure it is"
    return "each budget by how sure it is (not corrected: the fitted surface does not have the shape of these valleys)"


def _where(law: PowerLaw | None) -> str:
    if law is None or law.exponent_ci95 is None:
        return ""
    low, high = law.exponent_ci95
    side = "inside" if low <= LLAMA3.tokens_exponent <= high else "outside"
    return f": its α lies {side} the interval above"


def _approaches(fit: IsoflopFit) -> str:
    """Each method's exponents, what its intervals are, and what it predicts first; then what to hold against it."""
    target = fit.predictions[0].flops if fit.predictions else None
    ahead = f"{f'D* at {target:.3g}':>16}" if target is not None else ""
    lines = [
        "Approaches side by side; their intervals are of several kinds",
        f"  {'':<36} {'kind':<10} {'α tokens':>8} {'95% interval':>16}  {'α params':>8} {'95% interval':>16}{ahead}",
    ]
    for approach in fit.approaches:
        line = f"  {approach.name:<36} {approach.interval:<10}"
        for axis in AXES:
            law = approach.laws.get(axis)
            exponent, ci95 = (
                ("-", "-") if law is None else (f"{law.exponent:.3f}", _interval(law.exponent_ci95))
            )
            line += f" {exponent:>8} {ci95:>16} "
        if target is not None and "tokens" in approach.laws:
            line = f"{line[:-1]}{short(approach.laws['tokens'].value(target)):>16}"
        lines.append(line.rstrip())
    kinds = dict.fromkeys(approach.interval for approach in fit.approaches)
    lines.append(f"  intervals: {'; '.join(KINDS[kind] for kind in kinds if kind in KINDS)}")
    lines += [f"  {one.name}: {note}" for one in fit.approaches for note in one.notes]
    return "\n".join(lines)


def _interval(ci95: Interval | None) -> str:
    return "-" if ci95 is None else interval(ci95)


def _conventions(fit: IsoflopFit) -> str:
    """Both laws, and what they predict, under each way to count."""
    if not fit.conventions:
        return f"FLOPs are {fit.table.flops_convention}" if fit.table.flops_convention else ""
    header = CONVENTION_HEADER + "".join(f" {f'at {one.flops:.3g}':>12}" for one in fit.predictions)
    lines = [_convention_line(row, axis) for axis in AXES for row in fit.conventions]
    return "\n".join(["Conventions of counting, which move α (* marks the laws above)", header, *lines])


def _convention_line(row: ConventionFit, axis: Axis) -> str:
    mark, law = "*" if row.own else " ", row.laws[axis]
    line = f"{mark} {SYMBOL[axis]:<6} {row.params or UNNAMED:<14} {row.flops or UNNAMED:<9}"
    if law is None:
        return f"{line} {'no law':>9}"
    line += (
        f" {law.coefficient:>9.3g} {law.exponent:>6.3f} {law.corrected_exponent:>9.3f} "
        f"{interval(law.exponent_ci95):>18}"
    )
    return line + "".join(f" {short(one.optima[axis].corrected):>12}" for one in row.predictions)


def _predictions(fit: IsoflopFit) -> str:
    lines = []
    for prediction in fit.predictions:
        optima = ", ".join(
            f"{short(estimate.corrected)} {axis} {short_interval(estimate.ci95)}"
            for axis, estimate in prediction.optima.items()
        )
        plain = " and ".join(
            f"{short(estimate.value)} {axis}" for axis, estimate in prediction.optima.items()
        )
        reach = _reach(fit.laws["tokens"], prediction.flops)
        lines.append(f"  {prediction.flops:.3g} FLOPs{reach}: {optima}; by the plain law {plain}")
    heading = "Predictions of the optimum, with 95% intervals of the law, about which one experiment's optimum scatters"
    return "\n".join([heading, *lines]) if lines else ""


def _reach(law: PowerLaw | None, flops: float) -> str:
    """How far from the budgets; empty between them."""
    if law is None:
        return ""
    low, high = float(law.flops.min()), float(law.flops.max())
    decades = decades_beyond(flops, low, high)
    return f", {decades:.1f} decades {'beyond' if flops > high else 'below'} the budgets" if decades else ""


def check_lines(fit: IsoflopFit) -> list[str]:
    """Back-tests, seed noise, and what was derived or found rather than read."""
    lines = []
    for backtest in fit.backtests:
        without = "the top budget" if backtest.held_out == 1 else f"the top {backtest.held_out} budgets"
        ratios = " and ".join(
            f"{ratio.value:.2f}x the optimal {axis} ({_chance(ratio)})"
            for axis, ratio in backtest.ratios.items()
        )
        lines.append(
            f"Back-test: the law without {without} predicts {ratios} that were found at "
            f"{backtest.held_out_flops:.3g} FLOPs, and a loss {backtest.loss_error:+.4f} nats off"
        )
    if fit.seed_noise is not None:
        depths = [budget.tokens.depth for budget in fit.budgets if budget.tokens.interior]
        shallowest = f"; the shallowest valley is {min(depths):.3f} deep" if depths else ""
        lines.append(
            f"Seed noise: {fit.seed_noise.sd:.4f} nats ({fit.seed_noise.degrees_of_freedom} degrees of "
            f"freedom){shallowest}"
        )
    lines += [f"Note: {note}" for note in fit.table.notes if not is_derived(note)]  # a warning says that
    return lines


def _chance(ratio: Estimate) -> str:
    """What the plain law's scatter alone would do, 95 times in 100."""
    assert ratio.ci95 is not None
    low, high = ratio.ci95
    return f"chance gives {low:.2g}x to {high:.2g}x"


def _warnings(fit: IsoflopFit) -> str:
    lines = [
        f"  {warning.code}"
        + (f" at {warning.budget:.3g} FLOPs" if warning.budget else "")
        + f": {warning.text}"
        for warning in fit.warnings
    ]
    return "\n".join(["Warnings", *lines]) if lines else ""


def _set_aside(fit: IsoflopFit) -> str:
    lines = [f"  {line}" for line in set_aside_lines(fit)]
    return "\n".join(["Runs not used", *lines]) if lines else ""


def set_aside_lines(fit: IsoflopFit) -> list[str]:
    """A line a reason, at most MOST_NAMES of them with as many runs each; what is left out is counted."""
    groups = by_reason(fit.set_aside)
    lines = []
    for reason, items in list(groups.items())[:MOST_NAMES]:
        names = ", ".join(item.run_id for item in items[:MOST_NAMES])
        more = f" and {len(items) - MOST_NAMES} more" if len(items) > MOST_NAMES else ""
        lines.append(f"{names}{more}: {reason}")
    if len(groups) > MOST_NAMES:
        runs = sum(len(items) for items in list(groups.values())[MOST_NAMES:])
        lines.append(f"and {runs} more, for {len(groups) - MOST_NAMES} other reasons")
    return lines
