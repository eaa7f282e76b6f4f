"""Advice as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fit.advise import WASTING, WITHIN, Advice, Neighbour, on_budget, widening
from fit.constraints import Choice, Constraints, best_choice
from fit.laws import AxisLaw
from fit.report.numbers import interval, short, short_interval
from fit.shape import Build
from fit.statistics import Interval
from fit.text import number
from fit.tradeoff import FLOPS_PER_PARAM_TOKEN, Tradeoff

OFF_RUNG = 1.25
"""A rung further than this from the size that was asked for is told."""


def render_advice(
    advice: Advice, build: Build, constraints: Mapping[str, Constraints], costs: Sequence[str] = ()
) -> str:
    """Tokens, params, loss, reach, what deviations cost, what each of `constraints` costs, what to build.

    costs: lines on what the budget takes, where that is known.
    """
    law, ci95 = advice.law, advice.law.tokens.exponent_ci95
    lines = [
        f"{advice.flops:.3g} FLOPs by {law.name} ({law.source})",
        f"  tokens  {_sure(advice.tokens, advice.tokens_ci95)}   "
        f"D* = {law.tokens.coefficient:.3g}·C^{law.tokens.exponent:.3f}"
        + (f", 95% of α {interval(ci95)}" if ci95 else ""),
        f"  params  {_sure(advice.params, advice.params_ci95)}   by {advice.params_from}",
        f"  {advice.tokens / advice.params:.3g} tokens a parameter",
        _plain(advice),
        _loss(advice),
        reach(advice),
        *(f"  caution: {text}" for text in cautions(advice)),
        "Another balance at the same cost",
        *_deviations(advice),
        *_constraints(advice, constraints),
        *_build(build),
        *([_takes(constraints), *costs] if costs else []),
    ]
    if law.note:
        lines.append(f"Note: {law.note}")
    return "\n".join(line for line in lines if line)


def _takes(constraints: Mapping[str, Constraints]) -> str:
    """Above the costs, which are those of the whole budget."""
    serves = any(one.inference_tokens for one in constraints.values())
    return "It takes, training and serving together, both at this speed" if serves else "It takes"


def reach(advice: Advice) -> str:
    """Where the budget lies to the law's data, and what its interval becomes there."""
    law = advice.law
    if law.flops_range is None:
        return ""
    low, high = law.flops_range
    if advice.decades_beyond == 0:
        return f"  inside the law's data ({low:.3g} to {high:.3g} FLOPs)"
    line = f"  extrapolated {advice.decades_beyond:.1f} decades beyond the law's data ({low:.3g} to {high:.3g} FLOPs)"
    wider = widening(advice)
    if wider is None:
        return f"{line}; the law has no interval, so how far off it may be here is not known"
    return f"{line}: 95% of the tokens span a factor of {wider[0]:.3g} at their end and {wider[1]:.3g} here"


def cautions(advice: Advice) -> list[str]:
    """Where the law's FLOPs are not those of the cost, or its two optima do not multiply to it."""
    found, convention = [], advice.law.flops_convention
    if convention not in (None, "6nd"):
        found.append(
            f"this law counts FLOPs as '{convention}', not by 6ND, which for small models is another cost"
        )
    if not on_budget(advice):
        product = FLOPS_PER_PARAM_TOKEN * advice.params * advice.tokens / advice.flops
        found.append(
            f"6ND of the law's own params and tokens is {product:.2f}x the budget; losses and waste "
            f"are of both scaled to it"
        )
    return found


def no_loss(tradeoff: Tradeoff) -> str:
    """What rests on another law's exponents, where the law has no loss."""
    surface = tradeoff.surface
    return (
        f"by the valley of {tradeoff.borrowed} (alpha {surface.alpha:.3g}, beta {surface.beta:.3g}), laid at this "
        f"law's optimum: it has none of its own"
    )


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


def _loss(advice: Advice) -> str:
    loss = advice.loss
    if loss is None:
        return (
            "  loss    not known, nor what is within 0.1% of the best: this law has no loss; hoffmann, epoch, "
            "muennighoff and a fit's JSON have one"
        )
    by = "by the law's surface"
    if advice.law.loss_law is not None:
        by = "by the loss law of the optima"
        if advice.tradeoff.loss_known:
            by += f"; {advice.tradeoff.best_loss:.4g} by the surface of all runs, from which the losses below are"
    sure = "" if loss.ci95 is None else f" {interval(loss.ci95, 4)}"
    return f"  loss    {loss.value:.4g}{sure} nats a token, {by}"


def _deviations(advice: Advice) -> list[str]:
    tradeoff = advice.tradeoff
    lines = [_neighbour(one, tradeoff) for one in advice.neighbours()]
    if tradeoff.loss_known:
        ranges = [(f"{share:.1%}", tradeoff.sizes_within(share)) for share in WITHIN]
        lines += [f"  within {share} of the best loss: {_sizes(found)}" for share, found in ranges if found]
        return lines
    lines += [
        f"  wasting at most {share:.0%} of the compute: {_sizes(tradeoff.sizes_wasting(share))}"
        for share in WASTING
    ]
    return [*lines, f"  {no_loss(tradeoff)}"]


def _sizes(found: tuple[float, float]) -> str:
    return f"{short(found[0])} to {short(found[1])} params"


def _neighbour(one: Neighbour, tradeoff: Tradeoff) -> str:
    size = {0.5: "half the size", 2.0: "twice the size"}[one.times]
    what = f"{short(one.params)} params on {short(one.tokens)} tokens"
    return f"  {size:<14} {what}{_cost(one.loss, one.wasted, tradeoff)}"


def _cost(loss: float, wasted: float, tradeoff: Tradeoff) -> str:
    """Loss where there is one, and how much of the compute is wasted."""
    said = f", loss {loss:.4g} ({loss / tradeoff.best_loss - 1:+.2%})" if tradeoff.loss_known else ""
    return f"{said}: wastes {wasted:.1%} of the compute, {tradeoff.equal_flops(loss):.3g} FLOPs would do"


def _constraints(advice: Advice, constraints: Mapping[str, Constraints]) -> list[str]:
    if not constraints:
        return []
    return ["With constraints", *(_constraint(advice, name, one) for name, one in constraints.items())]


def _constraint(advice: Advice, name: str, constraints: Constraints) -> str:
    tradeoff = advice.tradeoff
    choice = best_choice(tradeoff, constraints)
    what = f"{short(choice.params)} params on {short(choice.tokens)} tokens"
    if choice.epochs > 1:
        what += f", {choice.epochs:.3g} epochs"
    if choice.inference_flops > 0:
        what += f", {choice.inference_flops:.3g} FLOPs left for serving"
    if choice.wasted < 5e-4:
        moved = abs(choice.params / tradeoff.params - 1) > 1e-3 or choice.epochs > 1
        cost = "costs next to nothing here" if moved else "no constraint here"
        return f"  {name}\n    {cost}: {what}"
    if constraints.inference_tokens:
        return f"  {name}\n    {what}{_serving(choice, tradeoff)}" + _saved(tradeoff, choice, constraints)
    return f"  {name}\n    {what}{_cost(choice.loss, choice.wasted, tradeoff)}"


def _serving(choice: Choice, tradeoff: Tradeoff) -> str:
    """Loss where there is one, and what training alone would need for it: serving is no waste."""
    said = (
        f", loss {choice.loss:.4g} ({choice.loss / tradeoff.best_loss - 1:+.2%})"
        if tradeoff.loss_known
        else ""
    )
    alone = tradeoff.equal_flops(choice.loss)
    return f"{said}: without the constraint {alone:.3g} FLOPs of training would do, {choice.wasted:.1%} less"


def _saved(tradeoff: Tradeoff, choice: Choice, constraints: Constraints) -> str:
    """What training and serving the model that is optimal for training alone would cost, for the same loss."""
    if len(_given(constraints)) > 1:
        return ""
    flops = tradeoff.equal_flops(choice.loss)
    params, _ = tradeoff.optimum(flops)
    total = flops + 2 * params * constraints.inference_tokens
    return (
        f"\n    trained for its loss alone it would be {short(params)} params, and with serving cost "
        f"{total:.3g} FLOPs: {1 - tradeoff.flops / total:.0%} are saved"
    )


def _given(constraints: Constraints) -> list[str]:
    return [name for name, value in vars(constraints).items() if value]


def _build(build: Build) -> list[str]:
    shape, sizes = build.shape, build.sizes
    counted = (
        "" if build.convention == "all" else f", {build.params:,} as the law counts them ({build.convention})"
    )
    lines = [
        f"To build, on the ladder {sizes.name}",
        (
            f"  {shape.name}: {number(shape.depth, 'layer')} of width {shape.width:,}, {number(shape.heads, 'head')}, "
            f"{number(shape.kv_heads, 'key-value head')}, MLP {shape.mlp_width:,}, vocabulary {shape.vocab_size:,}"
        ),
        f"  {build.all_params:,} params{counted}",
        (
            f"  {build.steps:,} steps of {build.sequences:,} sequences of {sizes.seq_len:,} = {build.tokens:,} tokens, "
            f"{build.flops:.3g} FLOPs {'as the law counts them (exact)' if build.exact else 'by 6ND'}"
        ),
    ]
    ratio = build.params / build.wanted
    if not 1 / OFF_RUNG < ratio < OFF_RUNG:
        lines.append(
            f"  this rung is {ratio:.3g}x the size that was asked for, and the ladder has none nearer; --model "
            f"and --vocab choose another"
        )
    return lines
