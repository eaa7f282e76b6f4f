"""Checks as text for a terminal: one or a few in full, many as a table."""

from __future__ import annotations

from collections.abc import Sequence

from fit.check import Check, nearest
from fit.known_models import KnownModel
from fit.report.advice import cautions, no_loss, reach
from fit.report.numbers import short

NEAR = 1.5
"""Within this ratio of the optimum a valley is flat: some tenths of a percent of loss."""


def render_checks(checks: Sequence[Check]) -> str:
    """Each in full, then which is nearest to its optimum."""
    lines = [render_check(one) for one in checks]
    if len(checks) > 1:
        best = nearest(checks)
        others = [one for one in checks if one is not best]
        lines.append(
            f"Nearer its optimum is {_choice(best)}: it wastes {best.wasted:.0%} of its compute, "
            + " and ".join(f"{_choice(one)} {one.wasted:.0%}" for one in others)
        )
    return "\n\n".join(lines)


def render_check(check: Check) -> str:
    """The cost of the choice, the optimum at that cost, which way and how far the choice is off, and its errors."""
    advice, tradeoff = check.advice, check.advice.tradeoff
    needed = tradeoff.equal_flops(check.loss)
    params, tokens = tradeoff.optimum(needed)
    loss = f", loss {check.loss:.4g} against {tradeoff.best_loss:.4g}" if tradeoff.loss_known else ""
    lines = [
        f"{_choice(check)} cost {check.flops:.3g} FLOPs by 6ND; {check.tokens / check.params:.3g} tokens a parameter",
        (
            f"  the optimum at that cost, by {advice.law.name}: {short(advice.params)} params on "
            f"{short(advice.tokens)} tokens"
        ),
        f"  {_verdict(check)}",
        (
            f"  wastes {check.wasted:.0%} of its compute{loss}: {needed:.3g} FLOPs reach the same loss with "
            f"{short(params)} params on {short(tokens)} tokens"
        ),
        "" if tradeoff.loss_known else f"  {no_loss(tradeoff)}",
        *(f"  caution: {text}" for text in cautions(advice)),
        *_errors(check),
    ]
    return "\n".join(line for line in lines if line)


def _errors(check: Check) -> list[str]:
    """The two common ones by name; a law that reaches says so."""
    lines = []
    if check.over_budget is not None:
        assert check.budget is not None
        affordable = check.budget / 6 / check.params
        lines.append(
            f"  ERROR, a plan that its budget can't pay for: it costs {check.over_budget:.3g}x the "
            f"{check.budget:.3g} FLOPs that there are, which train {short(check.params)} params on "
            f"{short(affordable)} tokens"
        )
    elif check.budget is not None:
        lines.append(
            f"  within the budget of {check.budget:.3g} FLOPs: it takes {check.flops / check.budget:.0%} of it"
        )
    where = reach(check.advice)
    if check.advice.decades_beyond > 0:
        where = f"  ERROR, a law used where its data doesn't reach: {where.strip()}"
    return [*lines, where]


def _choice(check: Check) -> str:
    name = f"{check.name}: " if check.name else ""
    return f"{name}{short(check.params)} params on {short(check.tokens)} tokens"


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


def render_check_table(checks: Sequence[Check]) -> str:
    """A line each; `!` after its FLOPs where its budget can't pay, decades where the law's data ends before it."""
    first = checks[0]
    width = max(len("model"), *(len(one.name) for one in checks))
    lines = [
        f"By {first.advice.law.name} ({first.advice.law.source}); optimal params and tokens at the same 6ND FLOPs",
        (
            f"{'model':<{width}} {'params':>7} {'tokens':>7} {'FLOPs':>9}  {'D/N':>6} {'N*':>7} {'D*':>7} {'D/D*':>6} "
            f"{'wasted':>7} {'beyond':>7}"
        ),
    ]
    for one in checks:
        over = "!" if one.over_budget else " "
        beyond = f"{one.advice.decades_beyond:.1f}" if one.advice.decades_beyond > 0 else "-"
        lines.append(
            f"{one.name:<{width}} {short(one.params):>7} {short(one.tokens):>7} {one.flops:>9.2e}{over} "
            f"{one.tokens / one.params:>6.3g} {short(one.advice.params):>7} {short(one.advice.tokens):>7} "
            f"{one.tokens_ratio:>6.2g} {one.wasted:>7.0%} {beyond:>7}"
        )
    return "\n".join([*lines, "", *_legend(checks)])


def _legend(checks: Sequence[Check]) -> list[str]:
    first = checks[0]
    lines = ["wasted: of its compute, that a balanced choice would not need for the same loss"]
    if not first.advice.tradeoff.loss_known:
        lines[0] += f",\n  {no_loss(first.advice.tradeoff)}"
    if first.advice.law.flops_range is not None:
        low, high = first.advice.law.flops_range
        lines.append(f"beyond: decades past the law's data, {low:.3g} to {high:.3g} FLOPs")
    lines += [f"caution: {text}" for text in cautions(first.advice)]
    over = [one for one in checks if one.over_budget]
    if first.budget is not None:
        lines.append(
            f"!: costs more than the budget of {first.budget:.3g} FLOPs, as {len(over)} of {len(checks)} do"
        )
    return lines


def render_sources(models: Sequence[KnownModel]) -> str:
    """Where the numbers of known models are from."""
    return "\n".join(
        ["Sources", *(f"{one.name}: {one.source}{f'; {one.note}' if one.note else ''}" for one in models)]
    )
