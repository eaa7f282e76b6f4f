"""What a fit lets one conclude, and what it does not, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fit.isoflop import IsoflopFit
from fit.powerlaw import PowerLaw
from fit.references import LLAMA3
from fit.report.numbers import interval, short, short_interval
from fit.valley import AXES

KNOWN = 1.5
"""An optimum is known to a factor where its interval reaches no further to either side."""
STEP = 0.1
"""Decades."""
FEW_BUDGETS = 5
SEEN = 5e-4
"""Exponents closer than this are printed alike."""


def render_verdict(fit: IsoflopFit) -> str:
    """Two lists."""
    can, cannot = _can(fit), _cannot(fit)
    lines = [*(f"  + {line}" for line in can), *(f"  - {line}" for line in cannot)]
    return "\n".join(["What can (+) and what can't (-) be concluded", *lines])


def _can(fit: IsoflopFit) -> list[str]:
    law = _tokens_law(fit)
    found = [
        f"over {law.flops.min():.3g} to {law.flops.max():.3g} FLOPs, by {len(law.flops)} budgets, optimal {axis} grow "
        f"as C^{one.corrected_exponent:.3f}, 95% {interval(one.exponent_ci95)}"
        for axis in AXES
        if (one := fit.laws[axis]) is not None and one.exponent_ci95 is not None
    ]
    if (faster := _faster(fit)) is not None:
        found.append(faster)
    if law.exponent_ci95 is not None and not _inside(LLAMA3.tokens_exponent, law):
        found.append(f"this is another law than Llama 3's: its α of {LLAMA3.tokens_exponent} lies outside")
    for ratio, chance in _back_tests(fit):
        if chance[0] <= ratio <= chance[1]:
            found.append(f"the other budgets predict the top one's optimal tokens: {ratio:.2f}x")
    return found


def _cannot(fit: IsoflopFit) -> list[str]:
    law = _tokens_law(fit)
    return [
        *_unsure(fit, law),
        *(
            f"that one line holds to the top: the other budgets predict {ratio:.2f}x its optimal tokens, where chance "
            f"gives {chance[0]:.2g}x to {chance[1]:.2g}x"
            for ratio, chance in _back_tests(fit)
            if not chance[0] <= ratio <= chance[1]
        ),
        *_far(law),
        *_other_methods(fit, law),
        *_other_counts(fit),
        *_unseen(fit),
    ]


def _unsure(fit: IsoflopFit, law: PowerLaw) -> Iterator[str]:
    if law.exponent_ci95 is None:
        yield "how sure α is: no run and no budget is to spare"
        return
    if len(law.flops) < FEW_BUDGETS:
        many = "the noise inside each" if len(law.flops) == 2 else f"{len(law.flops) - 2} degrees of freedom"
        yield f"much from {len(law.flops)} budgets: the intervals rest on {many}"
    if _inside(LLAMA3.tokens_exponent, law):
        yield f"that it is, or is not, Llama 3's law: its α of {LLAMA3.tokens_exponent} lies inside"
    params = fit.laws["params"]
    if params is not None and params.exponent_ci95 is not None and _faster(fit) is None:
        yield "whether tokens or params grow faster with compute: their intervals overlap"


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


def _other_methods(fit: IsoflopFit, law: PowerLaw) -> Iterator[str]:
    outside = [
        f"{one.name} {found.exponent:.3f}"
        for one in fit.approaches
        if (found := one.laws.get("tokens")) is not None
        and not _inside(found.exponent, law)
        and abs(found.exponent - law.corrected_exponent) > SEEN
    ]
    if law.exponent_ci95 is not None and outside:
        yield f"α of tokens whatever the method: outside the interval are {', '.join(outside)}"


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
    if fit.loss_law.floor is None:
        yield "where the loss levels off: the lowest losses support no floor"
    if fit.seed_noise is None:
        yield "what another seed would give: no cell was repeated"


def _faster(fit: IsoflopFit) -> str | None:
    """Which of the two grows faster; None where it can't be told."""
    tokens, params = (fit.laws[axis] for axis in AXES)
    if tokens is None or params is None or tokens.exponent_ci95 is None or params.exponent_ci95 is None:
        return None
    if tokens.exponent_ci95[0] > params.exponent_ci95[1]:
        return "optimal tokens grow faster than optimal params"
    if params.exponent_ci95[0] > tokens.exponent_ci95[1]:
        return "optimal params grow faster than optimal tokens"
    return None


def _back_tests(fit: IsoflopFit) -> Iterator[tuple[float, tuple[float, float]]]:
    """That of the law without the top budget, and what chance gives; none with too few budgets."""
    for backtest in fit.backtests[:1]:
        ratio = backtest.ratios["tokens"]
        assert ratio.ci95 is not None
        yield ratio.value, ratio.ci95


def _tokens_law(fit: IsoflopFit) -> PowerLaw:
    law = fit.laws["tokens"]
    assert law is not None  # a fit without it is refused
    return law


def _inside(exponent: float, law: PowerLaw) -> bool:
    return law.exponent_ci95 is not None and law.exponent_ci95[0] <= exponent <= law.exponent_ci95[1]
