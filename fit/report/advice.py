"""Advice and checks as text for a terminal."""

from __future__ import annotations

from fit.advise import Advice, Check
from fit.report.numbers import interval, short

NEAR = 1.5
"""Within this ratio of the optimum a valley is flat: some tenths of a percent of loss."""


def render_advice(advice: Advice) -> str:
    """Tokens, params, where they come from and how far the law is stretched."""
    law = advice.law
    lines = [
        f"{advice.flops:.3g} FLOPs by {law.name} ({law.source})",
        f"  tokens  {short(advice.tokens)}   D* = {law.tokens[0]:.3g}·C^{law.tokens[1]:.3f}"
        + (f", 95% of α {interval(law.tokens_exponent_ci95)}" if law.tokens_exponent_ci95 else ""),
        f"  params  {short(advice.params)}   by {advice.params_from}",
        f"  {advice.tokens / advice.params:.3g} tokens a parameter",
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
        _reach(advice),
    ]
    return "\n".join(line for line in lines if line)


def _verdict(check: Check) -> str:
    ratio = check.tokens_ratio
    if 1 / NEAR <= ratio <= NEAR:
        return f"this is near the optimum: {ratio:.2g}x its tokens, {check.params_ratio:.2g}x its params"
    if ratio > 1:
        return f"{ratio:.2g}x too many tokens, for a model {1 / check.params_ratio:.2g}x too small"
    return f"{1 / ratio:.2g}x too few tokens, for a model {check.params_ratio:.2g}x too large"


def _reach(advice: Advice) -> str:
    law = advice.law
    if law.flops_range is None:
        return ""
    low, high = law.flops_range
    if advice.decades_beyond == 0:
        return f"  inside the law's data ({low:.3g} to {high:.3g} FLOPs)"
    return f"  extrapolated {advice.decades_beyond:.1f} decades beyond the law's data ({low:.3g} to {high:.3g} FLOPs)"
