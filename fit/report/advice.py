"""Advice and checks as text for a terminal."""

from __future__ import annotations

from fit.advise import Advice, AxisLaw, Check
from fit.report.numbers import interval, short, short_interval
from fit.statistics import Interval

NEAR = 1.5
"""Within this ratio of the optimum a valley is flat: some tenths of a percent of loss."""


def render_advice(advice: Advice) -> str:
    """Tokens, params, where they come from and how far the law is stretched."""
    law, ci95 = advice.law, advice.law.tokens.exponent_ci95
    lines = [
        f"{advice.flops:.3g} FLOPs by {law.name} ({law.source})",
        f"  tokens  {_sure(advice.tokens, advice.tokens_ci95)}   "
        f"D* = {law.tokens.coefficient:.3g}·C^{law.tokens.exponent:.3f}"
        + (f", 95% of α {interval(ci95)}" if ci95 else ""),
        f"  params  {_sure(advice.params, advice.params_ci95)}   by {advice.params_from}",
        f"  {advice.tokens / advice.params:.3g} tokens a parameter",
        _plain(advice),
        _reach(advice),
    ]
    if law.note:
        lines.append(f"  note: {law.note}")
    return "\n".join(line for line in lines if line)


def render_check(check: Check) -> str:
    """The cost of the choice, the optimum at that cost, and which way the choice is off."""
    advice = check.advice
    best = f"{short(advice.params)} params on {short(advice.tokens)} tokens"
    lines = [
        f"{short(check.params)} params on {short(check.tokens)} tokens cost {advice.flops:.3g} FLOPs by 6ND",
        f"  the optimum at that cost, by {advice.law.name}: {best}",
        f"  {_verdict(check)}",
        _counted(advice),
        _reach(advice),
    ]
    return "\n".join(line for line in lines if line)


def _sure(value: float, ci95: Interval | None) -> str:
    return short(value) if ci95 is None else f"{short(value)} {short_interval(ci95)}"


def _plain(advice: Advice) -> str:
    """What plain least squares says, where the law is a corrected one."""
    plain = advice.law.tokens.plain
    if plain is None:
        return ""
    coefficient, exponent = plain
    tokens = AxisLaw(coefficient, exponent).value(advice.flops)
    return f"  by plain least squares D* = {coefficient:.3g}·C^{exponent:.3f}, {short(tokens)} tokens"


def _counted(advice: Advice) -> str:
    """A caution where the law's FLOPs are not those of the cost."""
    convention = advice.law.flops_convention
    if convention in (None, "6nd"):
        return ""
    return f"  caution: this law counts FLOPs as '{convention}', not by 6ND, which for small models is another cost"


def _verdict(check: Check) -> str:
    tokens, params = check.tokens_ratio, check.params_ratio
    ratios = f"{tokens:.2g}x its tokens, {params:.2g}x its params"
    if all(1 / NEAR <= ratio <= NEAR for ratio in (tokens, params)):
        return f"this is near the optimum: {ratios}"
    if tokens > 1 > params:
        return f"{tokens:.2g}x too many tokens, for a model of {params:.2g}x the optimal size"
    if tokens < 1 < params:
        return f"{1 / tokens:.2g}x too few tokens, for a model {params:.2g}x too large"
    return f"this is off the optimum: {ratios}"


def _reach(advice: Advice) -> str:
    law = advice.law
    if law.flops_range is None:
        return ""
    low, high = law.flops_range
    if advice.decades_beyond == 0:
        return f"  inside the law's data ({low:.3g} to {high:.3g} FLOPs)"
    return f"  extrapolated {advice.decades_beyond:.1f} decades beyond the law's data ({low:.3g} to {high:.3g} FLOPs)"
