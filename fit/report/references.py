"""Published laws as text for a terminal: their numbers, what they say of a budget, and one's own beside them."""

from __future__ import annotations

from collections.abc import Sequence

from fit.advise import Advice, advise
from fit.laws import PlannerLaw, load_law
from fit.references import LAWS, PublishedLaw
from fit.report.numbers import interval, short

HEADER = f"{'name':<12} {'tokens':<18} {'params':<18} {'source':<38} convention"
AT_HEADER = f"{'name':<12} {'tokens':>9} {'params':>9} {'tokens/param':>13}"


def render_references(flops: Sequence[float], own: PlannerLaw | None) -> str:
    """Every published law and, where there is one, one's own; then what each says of each of `flops`."""
    lines = ["Published laws: optimal tokens and params = A·C^α", HEADER, *map(_law_line, LAWS)]
    if own is not None:
        lines.append(_own_line(own))
    lines += ["", *(f"{law.name}: {law.title}; {law.note}" for law in LAWS if law.note)]
    return "\n".join(["\n".join(lines), *(_at(one, own) for one in flops)])


def _law_line(law: PublishedLaw) -> str:
    tokens = power(law.tokens_coefficient, law.tokens_exponent)
    params = "-" if law.params_exponent is None else power(law.params_coefficient, law.params_exponent)
    return f"{law.name:<12} {tokens:<18} {params:<18} {law.source:<38} {law.convention}"


def _own_line(law: PlannerLaw) -> str:
    params = "-" if law.params is None else power(law.params.coefficient, law.params.exponent)
    interval_of = law.tokens.exponent_ci95
    ci95 = f"95% of the tokens' α {interval(interval_of)}" if interval_of else ""
    tokens = power(law.tokens.coefficient, law.tokens.exponent)
    return f"{'yours':<12} {tokens:<18} {params:<18} {law.name:<38} {ci95}".rstrip()


def power(coefficient: float | None, exponent: float) -> str:
    return f"C^{exponent:.4g}" if coefficient is None else f"{coefficient:.4g}·C^{exponent:.4g}"


def _at(flops: float, own: PlannerLaw | None) -> str:
    yours = None if own is None else advise(own, flops)
    lines = [
        "",
        f"At {flops:.3g} FLOPs",
        AT_HEADER + ("" if yours is None else "  over yours, tokens and params"),
    ]
    for law in LAWS:
        if law.tokens_coefficient is not None:
            lines.append(_advice_line(law.name, advise(load_law(law.name), flops), yours))
    if yours is not None:
        lines.append(_advice_line("yours", yours, None))
    return "\n".join(lines)


def _advice_line(name: str, advice: Advice, yours: Advice | None) -> str:
    ratios = ""
    if yours is not None:
        ratios = f"  {advice.tokens / yours.tokens:.2f}x and {advice.params / yours.params:.2f}x"
    by = "" if advice.law.params is not None else "  params by C = 6ND"
    each = f"{advice.tokens / advice.params:.3g}"
    return f"{name:<12} {short(advice.tokens):>9} {short(advice.params):>9} {each:>13}{ratios}{by}"
