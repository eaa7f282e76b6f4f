"""What a fit lets one conclude, and what it does not, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fit.advise import Advice, advise, on_budget
from fit.isoflop import IsoflopFit
from fit.laws import PlannerLaw
from fit.losslaw import LEAST_FOR_FLOOR
from fit.powerlaw import PowerLaw
from fit.references import LLAMA3
from fit.report.numbers import interval, short, short_interval
from fit.text import number
from fit.valley import AXES, Axis

KNOWN = 1.5
"""An optimum is known to a factor where its interval reaches no further to either side."""
MISSED = 1.1
"""A factor from an optimum that wastes some thousandths of the compute."""
STEP = 0.1
"""Decades."""
FEW_BUDGETS = 5
SEEN = 5e-4
"""Exponents closer than this are printed alike."""
SYMBOL = {"tokens": "D*(C)", "params": "N*(C)"}
CARRIES = ("carried-by-one-budget", "outlier-run")
"""Findings of which one is enough to doubt a law."""
SHAKES = ("poor-fit", "unsure-minimum", "shallow-valley")
"""Findings that shake a law where most of its budgets have one."""


def headline(fit: IsoflopFit, law: PlannerLaw) -> tuple[str, str]:
    """Two sentences: how the optimum grows, and what is best at the largest budget. law: that of the fit."""
    tokens = _tokens_law(fit)
    laws = [
        f"{SYMBOL[axis]} = {found.corrected_coefficient:.3g}·C^{found.corrected_exponent:.3f} "
        f"(95% of α {interval(found.exponent_ci95)})"
        for axis in AXES
        if (found := fit.laws[axis]) is not None
    ]
    doubts = [doubt for axis in AXES if _sure(fit, axis) and (doubt := _doubt(fit, axis)) is not None]
    but = f", but this is not to be relied on: {doubts[0]}" if doubts else ""
    low, top = float(tokens.flops.min()), float(tokens.flops.max())
    advice = advise(law, top)
    half, twice = (f"{one.wasted:.0%}" for one in advice.neighbours())
    wasted = f"{half} of the compute" if half == twice else f"{half} or {twice} of the compute"
    size = (
        "that size"
        if on_budget(advice)
        else f"the {short(advice.tradeoff.params)} params of that balance at 6ND = C"
    )
    loss = advice.loss
    reached = "" if loss is None else f" for a loss of {loss.value:.4g} nats a token"
    return (
        (
            f"From {low:.3g} to {top:.3g} FLOPs, by {len(tokens.flops)} budgets, the best use of compute C is "
            f"{' and '.join(laws)}{but}."
        ),
        (
            f"At {top:.3g} FLOPs that is {short(advice.params)} params on {short(advice.tokens)} tokens{reached}"
            f"{_missed(fit, advice)}; half "
            f"or twice {size} would waste {wasted}."
        ),
    )


def _missed(fit: IsoflopFit, advice: Advice) -> str:
    """The largest budget's own minimum, where the law passes it by, and by more than MISSED."""
    top = fit.budgets[-1]
    said = {"tokens": advice.tokens, "params": advice.params}
    found = {axis: (top.valley(axis).optimum, top.optimum_ci95[axis]) for axis in AXES}
    missed = [
        f"{short(optimum)} {short_interval(ci95)} {axis}"
        for axis, (optimum, ci95) in found.items()
        if optimum is not None
        and ci95 is not None
        and not ci95[0] <= said[axis] <= ci95[1]
        and not 1 / MISSED < optimum / said[axis] < MISSED
    ]
    return f" (its own minimum lies at {' and '.join(missed)})" if missed else ""


def render_verdict(fit: IsoflopFit) -> str:
    """Two lists."""
    can, cannot = can_be_concluded(fit), cannot_be_concluded(fit)
    lines = [*(f"  + {line}" for line in can), *(f"  - {line}" for line in cannot)]
    return "\n".join(["What can (+) and what can't (-) be concluded", *lines])


def can_be_concluded(fit: IsoflopFit) -> list[str]:
    """In a sentence each."""
    found = [_growth(fit, axis) for axis in AXES if _sure(fit, axis) and _doubt(fit, axis) is None]
    if (faster := _faster(fit)) is not None:
        found.append(faster)
    found += [
        f"the other budgets predict the top one's optimal {axis}: {ratio:.2f}x"
        for axis, ratio, chance in _back_tests(fit)
        if chance[0] <= ratio <= chance[1]
    ]
    return found


def cannot_be_concluded(fit: IsoflopFit) -> list[str]:
    """In a sentence each."""
    law = _tokens_law(fit)
    return [
        *(
            f"that {_growth(fit, axis)}: {doubt}"
            for axis in AXES
            if _sure(fit, axis) and (doubt := _doubt(fit, axis)) is not None
        ),
        *_unsure(fit, law),
        *(
            f"that one line holds to the top: the other budgets predict {ratio:.2f}x its optimal {axis}, where chance "
            f"gives {chance[0]:.2g}x to {chance[1]:.2g}x"
            for axis, ratio, chance in _back_tests(fit)
            if not chance[0] <= ratio <= chance[1]
        ),
        *_far(law),
        *_other_methods(fit),
        *_other_counts(fit),
        *_unseen(fit),
    ]


def _sure(fit: IsoflopFit, axis: Axis) -> bool:
    law = fit.laws[axis]
    return law is not None and law.exponent_ci95 is not None


def _growth(fit: IsoflopFit, axis: Axis) -> str:
    law = fit.laws[axis]
    assert law is not None
    return (
        f"over {law.flops.min():.3g} to {law.flops.max():.3g} FLOPs, by {len(law.flops)} budgets, optimal {axis} grow "
        f"as C^{law.corrected_exponent:.3f}, 95% {interval(law.exponent_ci95)}"
    )


def _doubt(fit: IsoflopFit, axis: Axis) -> str | None:
    """Why the law's own interval is not to be believed; None where nothing speaks against it."""
    law = fit.laws[axis]
    assert law is not None
    assert law.exponent_ci95 is not None
    if law.exponent_ci95[0] <= 0 <= law.exponent_ci95[1]:
        return "the interval has room for no growth at all"
    codes = [warning.code for warning in fit.warnings if axis in warning.text.split(":")[0]]
    if (code := next((code for code in CARRIES if code in codes), None)) is not None:
        return f"see {code} below"
    shaken = {
        warning.budget
        for warning in fit.warnings
        if warning.code in SHAKES and axis in warning.text.split(":")[0]
    }
    if 2 * len(shaken) > len(law.flops):
        return f"at {len(shaken)} of {len(law.flops)} budgets the valley is not to be trusted, see below"
    return None


def _unsure(fit: IsoflopFit, law: PowerLaw) -> Iterator[str]:
    if law.exponent_ci95 is None:
        yield "how sure α is: no run and no budget is to spare"
        return
    if len(law.flops) < FEW_BUDGETS:
        many = (
            "the noise inside each"
            if len(law.flops) == 2
            else (number(len(law.flops) - 2, "degree") + " of freedom")
        )
        yield f"much from {len(law.flops)} budgets: the intervals rest on {many}"
    where = "inside" if _inside(LLAMA3.tokens_exponent, law) else "outside"
    yield (
        f"that this is, or is not, Llama 3's law: its α of {LLAMA3.tokens_exponent} lies {where} the interval, but has "
        f"one of its own, and text, recipe and compute are others"
    )
    if _sure(fit, "params") and _faster(fit) is None:
        yield "whether tokens or params grow faster with compute: their intervals overlap, or are not to be trusted"


def _far(law: PowerLaw) -> Iterator[str]:
    """Where the interval of optimal tokens reaches further than KNOWN, or the budgets' own span is used up."""
    low, top = float(law.flops.min()), float(law.flops.max())
    span = np.log10(top / low)
    for decades in np.arange(0, span, STEP):
        estimate = law.predict(top * 10**decades)
        if estimate.ci95 is None or estimate.corrected is None:
            return
        if max(estimate.ci95[1] / estimate.corrected, estimate.corrected / estimate.ci95[0]) > KNOWN:
            yield (
                f"optimal tokens to a factor of {KNOWN:g} from {top * 10**decades:.2g} FLOPs on: there they are "
                f"{short(estimate.corrected)} {short_interval(estimate.ci95)}"
            )
            return
    yield (
        f"what is optimal past {top * 10**span:.2g} FLOPs: the budgets span {span:.1f} decades, and nothing in them "
        f"shows that one line goes on for more than that"
    )


def _other_methods(fit: IsoflopFit) -> Iterator[str]:
    for axis in AXES:
        law = fit.laws[axis]
        if law is None or law.exponent_ci95 is None:
            continue
        outside = [
            f"{one.name} {found.exponent:.3f}"
            for one in fit.approaches
            if (found := one.laws.get(axis)) is not None and _leaves(found.exponent, law)
        ]
        if (window := law.parts.get("window")) is not None and any(_leaves(end, law) for end in window):
            outside.append(f"other windows {interval(window)}")
        if outside:
            yield f"α of {axis} whatever the method: outside the interval are {', '.join(outside)}"


def _leaves(exponent: float, law: PowerLaw) -> bool:
    return not _inside(exponent, law) and abs(exponent - law.corrected_exponent) > SEEN


def _other_counts(fit: IsoflopFit) -> Iterator[str]:
    for axis in AXES:
        found = [law.corrected_exponent for row in fit.conventions if (law := row.laws[axis]) is not None]
        own = fit.laws[axis]
        if own is None or own.exponent_ci95 is None or not found:
            continue
        if not (_inside(min(found), own) and _inside(max(found), own)):
            yield (
                f"α of {axis} without saying how params and FLOPs are counted: {min(found):.3f} to {max(found):.3f}"
            )


def _unseen(fit: IsoflopFit) -> Iterator[str]:
    optima = len(fit.loss_law.curve.x)
    if optima < LEAST_FOR_FLOOR:
        yield f"where the loss levels off: a floor needs {LEAST_FOR_FLOOR} optima and there are {optima}"
    elif fit.loss_law.floor is None:
        yield "where the loss levels off: the lowest losses support no floor"
    if fit.seed_noise is None:
        yield "what another seed would give: no cell was repeated"


def _faster(fit: IsoflopFit) -> str | None:
    """Which of the two grows faster; None where it can't be told."""
    tokens, params = (fit.laws[axis] for axis in AXES)
    if tokens is None or params is None or tokens.exponent_ci95 is None or params.exponent_ci95 is None:
        return None
    if _doubt(fit, "tokens") is not None or _doubt(fit, "params") is not None:
        return None
    if tokens.exponent_ci95[0] > params.exponent_ci95[1]:
        return "optimal tokens grow faster than optimal params"
    if params.exponent_ci95[0] > tokens.exponent_ci95[1]:
        return "optimal params grow faster than optimal tokens"
    return None


def _back_tests(fit: IsoflopFit) -> Iterator[tuple[Axis, float, tuple[float, float]]]:
    """Those of the law without the top budget, and what chance gives; none with too few budgets."""
    for backtest in fit.backtests[:1]:
        for axis, ratio in backtest.ratios.items():
            assert ratio.ci95 is not None
            yield axis, ratio.value, ratio.ci95


def _tokens_law(fit: IsoflopFit) -> PowerLaw:
    law = fit.laws["tokens"]
    assert law is not None  # a fit without it is refused
    return law


def _inside(exponent: float, law: PowerLaw) -> bool:
    return law.exponent_ci95 is not None and law.exponent_ci95[0] <= exponent <= law.exponent_ci95[1]
