"""The answer that an experiment is for: how many params and tokens to use at the budget of the real run."""

from __future__ import annotations

from fit.isoflop import IsoflopFit
from fit.powerlaw import Estimate, Prediction
from fit.report.numbers import interval, short, short_interval
from fit.statistics import Interval


def render_target(fit: IsoflopFit, prediction: Prediction) -> str:
    """Params, tokens and tokens a parameter at `prediction`'s FLOPs, by the laws that the intervals are about."""
    tokens, params = (prediction.optima.get(axis) for axis in ("tokens", "params"))
    where = f"At the target of {prediction.flops:.3g} FLOPs{_reach(fit, prediction.flops)}"
    if tokens is None or params is None or tokens.corrected is None or params.corrected is None:
        return f"{where}: no answer, for tokens and params do not both have a law"
    ratio = tokens.corrected / params.corrected
    product = 6 * tokens.corrected * params.corrected / prediction.flops
    return "\n".join(
        [
            f"{where}, with 95% intervals of the law",
            f"  params N   {short(params.corrected):>8} {short_interval(params.ci95)}",
            f"  tokens D   {short(tokens.corrected):>8} {short_interval(tokens.ci95)}",
            f"  N : D = 1 : {ratio:.3g} {interval(ratio_ci95(tokens, params))} tokens a parameter",
            f"  by 6·N·D the two, each by its own law, cost {product:.2f}x the target",
        ]
    )


def ratio_ci95(tokens: Estimate, params: Estimate) -> Interval | None:
    """Of tokens a parameter: on one budget tokens grow as params shrink, so the ends of one go with the other's."""
    if tokens.ci95 is None or params.ci95 is None:
        return None
    return tokens.ci95[0] / params.ci95[1], tokens.ci95[1] / params.ci95[0]


def _reach(fit: IsoflopFit, flops: float) -> str:
    """How far past the largest budget of the law; empty within it."""
    law = fit.laws["tokens"]
    if law is None or flops <= law.flops.max():
        return ""
    return f", {flops / law.flops.max():.3g} times the largest budget"
