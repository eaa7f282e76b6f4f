"""Two experiments side by side, as text for a terminal."""

from __future__ import annotations

from fit.compare import Comparison, LawComparison, Ratio
from fit.isoflop import IsoflopFit
from fit.report.numbers import interval, short, short_interval

EXPONENTS = f"  {'':<6} {'first':>9} {'second':>9} {'difference':>10} {'95% interval':>18}"
OPTIMA = f"  {'':<6} {'at FLOPs':>9} {'first':>9} {'second':>9} {'ratio':>10} {'95% interval':>18}"
LOSSES = "Losses are not compared: they hang on corpus, tokenizer and validation set; where they are lowest does not."


def render_comparison(comparison: Comparison) -> str:
    """Exponents, optima, whether the data can tell the laws apart, and what else may."""
    parts = [_heads(comparison), _exponents(comparison), _optima(comparison), _verdicts(comparison)]
    if comparison.cautions:
        parts.append("\n".join(["Cautions", *(f"  {caution}" for caution in comparison.cautions)]))
    return "\n\n".join([*parts, LOSSES])


def _heads(comparison: Comparison) -> str:
    return "\n".join(
        ["Two experiments", _head("first", comparison.first), _head("second", comparison.second)]
    )


def _head(name: str, fit: IsoflopFit) -> str:
    budgets = fit.table.budgets
    text = (
        f"  {name:<6}  {fit.table.source}: {len(fit.table)} runs at {len(budgets)} budgets, {budgets[0]:.3g} to "
        f"{budgets[-1]:.3g} FLOPs"
    )
    count = len(fit.warnings)
    return text + (f"; {count} warnings, which python -m fit isoflop tells" if count else "")


def _exponents(comparison: Comparison) -> str:
    lines = ["Exponents α, less the grid's bias where it is known", EXPONENTS]
    for axis, law in comparison.laws.items():
        if law is None:
            lines.append(f"  {axis:<6} one of the two has no law in {axis}")
            continue
        found = law.exponent
        lines.append(
            f"  {axis:<6} {found.first:>9.3f} {found.second:>9.3f} {found.value:>+10.3f} {interval(found.ci95):>18}"
        )
    return "\n".join(lines)


def _optima(comparison: Comparison) -> str:
    lines = ["Optima, second over first", OPTIMA]
    for axis, law in comparison.laws.items():
        lines += [_ratio(axis, ratio) for ratio in law.ratios] if law else []
    return "\n".join(lines)


def _ratio(axis: str, ratio: Ratio) -> str:
    return (
        f"  {axis:<6} {ratio.flops:>9.3g} {short(ratio.first):>9} {short(ratio.second):>9} {f'{ratio.value:.3g}x':>10} "
        f"{short_interval(ratio.ci95):>18}"
    )


def _verdicts(comparison: Comparison) -> str:
    lines = [f"  {_verdict(axis, law)}" for axis, law in comparison.laws.items() if law is not None]
    return "\n".join(["Can the data tell them apart?", *lines])


def _verdict(axis: str, law: LawComparison) -> str:
    exponent, middle = law.exponent, law.middle
    if law.p_value is None:
        return (
            f"{axis}: not known, for a law on 2 budgets whose runs say nothing of their noise has no interval"
        )
    if law.told_apart:
        return (
            f"{axis}: the data can tell the laws apart (p = {law.p_value:.2g}): α differs by {exponent.value:+.3f} "
            f"{interval(exponent.ci95)}, the optimum at {middle.flops:.3g} FLOPs by {middle.value:.3g}x "
            f"{short_interval(middle.ci95)}"
        )
    return (
        f"{axis}: the data can't tell the laws apart (p = {law.p_value:.2g}): a difference of up to "
        f"{exponent.unseen:.2g} in α would go unseen, and one of {middle.unseen:.3g}x in the optimum at "
        f"{middle.flops:.3g} FLOPs"
    )
