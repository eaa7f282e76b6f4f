"""A fit as text for a terminal."""

from __future__ import annotations

from fit.aside import by_reason
from fit.isoflop import Budget, IsoflopFit
from fit.powerlaw import PowerLaw
from fit.references import LLAMA3
from fit.report.numbers import interval, short, short_interval
from fit.valley import AXES, Valley

HEADER = (
    f"{'budget':>9} {'runs':>5} {'tokens':>9} {'95% interval':>18} {'params':>9} {'95% interval':>18} {'loss':>8} "
    f"{'R²':>6}  status"
)
MOST_NAMES = 10
SYMBOL = {"tokens": "D*(C)", "params": "N*(C)"}


def render(fit: IsoflopFit) -> str:
    """Optima, the two laws beside Llama 3's, α under each convention, predictions, checks, and all that is wrong."""
    parts = [
        _optima(fit),
        _laws(fit),
        _conventions(fit),
        _predictions(fit),
        _checks(fit),
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
        f"{short_interval(budget.optimum_ci95['params']):>18} {loss:>8} {_r2(tokens):>6}  {_status(tokens, params)}"
    )


def _r2(valley: Valley) -> str:
    return "-" if valley.status == "too-few-sizes" else f"{valley.r2:.3f}"


def _status(tokens: Valley, params: Valley) -> str:
    if tokens.status == params.status:
        return tokens.status
    return f"tokens {tokens.status}, params {params.status}"


def _laws(fit: IsoflopFit) -> str:
    lines = ["Laws, optimum = A·C^α, with 95% intervals"]
    for axis in AXES:
        law = fit.laws[axis]
        lines.append(f"  {axis:>6}  no law" if law is None else _law_line(axis, law))
        if law is not None:
            lines += _corrected(law)
            lines.append(
                f"          α by bootstrap of the runs {interval(law.parts['within'])}, by scatter of the budgets "
                f"{interval(law.parts['between'])}, leaving one budget out {interval(law.parts['leave_one_out'])}"
            )
    lines.append(
        f"  Llama 3  D*(C) = {LLAMA3.tokens_coefficient}·C^{LLAMA3.tokens_exponent} ({LLAMA3.source})"
        f"{_where(fit.laws['tokens'])}"
    )
    return "\n".join(lines)


def _corrected(law: PowerLaw) -> list[str]:
    if law.corrected_exponent is None:
        return []
    corrected = f"A = {law.corrected_coefficient:.3g}, α = {law.corrected_exponent:.3f}"
    return [f"          less what a parabola on this grid misses: {corrected}; the intervals are about these"]


def _law_line(axis: str, law: PowerLaw) -> str:
    return (
        f"  {axis:>6}  {SYMBOL[axis]} = {law.coefficient:.3g}·C^{law.exponent:.3f}   α {interval(law.exponent_ci95)}   "
        f"A {interval(law.coefficient_ci95)}"
    )


def _where(law: PowerLaw | None) -> str:
    if law is None or law.exponent_ci95 is None:
        return ""
    low, high = law.exponent_ci95
    side = "inside" if low <= LLAMA3.tokens_exponent <= high else "outside"
    return f": its α lies {side} the interval above"


def _conventions(fit: IsoflopFit) -> str:
    """α of params under each way to count them: at small sizes the choice moves it by 0.1 and more."""
    table = fit.table
    lines = []
    if table.flops_convention is not None:
        lines.append(f"  FLOPs are {table.flops_convention}")
    for name, law in fit.params_laws.items():
        mark = "   (the law above)" if name == table.params_convention else ""
        lines.append(
            f"  params {name:>14}  no law"
            if law is None
            else f"  params {name:>14}  α = {law.exponent:.3f} {interval(law.exponent_ci95)}{mark}"
        )
    return "\n".join(["Conventions of counting, which move α", *lines]) if lines else ""


def _predictions(fit: IsoflopFit) -> str:
    lines = []
    for prediction in fit.predictions:
        optima = ", ".join(
            f"{short(estimate.value)} {axis} {short_interval(estimate.ci95)}"
            for axis, estimate in prediction.optima.items()
        )
        lines.append(f"  {prediction.flops:.3g} FLOPs: {optima}")
    return "\n".join(["Predictions", *lines]) if lines else ""


def _checks(fit: IsoflopFit) -> str:
    lines = []
    for backtest in fit.backtests:
        without = "the top budget" if backtest.held_out == 1 else f"the top {backtest.held_out} budgets"
        ratios = " and ".join(f"{ratio:.2f}x the optimal {axis}" for axis, ratio in backtest.ratios.items())
        lines.append(
            f"Back-test: the law without {without} predicts {ratios} that were found at "
            f"{backtest.held_out_flops:.3g} FLOPs"
        )
    if fit.seed_noise is not None:
        depths = [budget.tokens.depth for budget in fit.budgets if budget.tokens.interior]
        shallowest = f"; the shallowest valley is {min(depths):.3f} deep" if depths else ""
        lines.append(
            f"Seed noise: {fit.seed_noise.sd:.4f} nats ({fit.seed_noise.degrees_of_freedom} degrees of "
            f"freedom){shallowest}"
        )
    lines += [f"Note: {note}" for note in fit.table.notes]
    return "\n".join(lines)


def _warnings(fit: IsoflopFit) -> str:
    lines = [
        f"  {warning.code}"
        + (f" at {warning.budget:.3g} FLOPs" if warning.budget else "")
        + f": {warning.text}"
        for warning in fit.warnings
    ]
    return "\n".join(["Warnings", *lines]) if lines else ""


def _set_aside(fit: IsoflopFit) -> str:
    """At most MOST_NAMES runs a reason, and as many reasons; what is left out is counted."""
    groups = by_reason(fit.set_aside)
    lines = []
    for reason, items in list(groups.items())[:MOST_NAMES]:
        lines += [f"  {item.run_id}: {reason}" for item in items[:MOST_NAMES]]
        if len(items) > MOST_NAMES:
            lines.append(f"  and {len(items) - MOST_NAMES} more: {reason}")
    if len(groups) > MOST_NAMES:
        runs = sum(len(items) for items in list(groups.values())[MOST_NAMES:])
        lines.append(f"  and {runs} more, for {len(groups) - MOST_NAMES} other reasons")
    return "\n".join(["Runs not fitted", *lines]) if lines else ""
