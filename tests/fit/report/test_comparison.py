"""Two experiments as text: what differs, whether the data can tell, and what else may be why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fit.compare import compare_fits
from fit.isoflop import IsoflopFit, fit_isoflop
from fit.report.comparison import render_comparison
from fit.table import RunTable
from tests.simulated import BUDGETS, TOKENS, Law, parabolas


def fitted(runs: RunTable) -> IsoflopFit:
    return fit_isoflop(runs, resamples=0)


def test_exponents_optima_and_verdict_are_all_there() -> None:
    """Truth: the simulated laws, 0.299·C^0.537 and twice that, to the digits printed."""
    double = Law(2 * TOKENS.coefficient, TOKENS.exponent)
    first, second = parabolas(noise=1e-5), parabolas(double, noise=1e-5, seed=1)
    text = render_comparison(compare_fits(fitted(first), fitted(second), [3.8e25]))
    for part in (
        "first   simulated: 35 runs at 5 budgets, 1e+18 to 2.56e+20 FLOPs",
        "0.537     0.537     ",
        "3.8e+25     16.3T     32.6T         2x",
        "3.8e+25      389B      194B       0.5x",
        "tokens: the data can tell the laws apart (p = ",
        "the optimum at 1.6e+19 FLOPs by 2x [2, 2]",
        "Losses are not compared",
    ):
        assert part in text
    assert "Cautions" not in text
    assert "warnings" not in text


def test_what_can_not_be_told_says_how_much_would_go_unseen() -> None:
    comparison = compare_fits(fitted(parabolas(noise=0.02)), fitted(parabolas(noise=0.02, seed=1)))
    law = comparison.laws["tokens"]
    assert law is not None
    text = render_comparison(comparison)
    assert f"a difference of up to {law.exponent.unseen:.2g} in α would go unseen" in text
    assert "tokens: the data can't tell the laws apart" in text


def test_cautions_warnings_and_what_is_missing_are_told() -> None:
    runs = parabolas(sizes=3, budgets=BUDGETS[:2])
    flat = replace(runs, params=np.full(len(runs), 1e9), flops_convention="exact")
    text = render_comparison(compare_fits(fitted(runs), fitted(flat)))
    assert "params one of the two has no law in params" in text
    assert (
        "tokens: not known, for a law on 2 budgets whose runs say nothing of their noise has no interval"
        in text
    )
    assert "Cautions\n  flops are under no named convention in the first and exact in the second" in text
    assert "warnings, which python -m fit isoflop tells" in text
