"""What to use at the budget of the real run."""

from __future__ import annotations

import re

import pytest

from fit.isoflop import fit_isoflop
from fit.report.numbers import short
from fit.report.target import ratio_ci95, render_target
from tests.simulated import TOKENS, parabolas

TARGET = 1e23


def test_the_answer_is_that_of_the_law() -> None:
    """Truth: the law that the runs obey, D* = 0.299·C^0.537, and N* = C / (6·D*)."""
    fit = fit_isoflop(parabolas(), predict=[TARGET], resamples=0)
    text = render_target(fit, fit.predictions[0])
    tokens = TOKENS(TARGET)
    params = TARGET / (6 * tokens)
    assert "391 times the largest budget" in text
    assert f"{short(tokens)} [" in text
    assert f"{short(params)} [" in text
    assert f"1 : {tokens / params:.3g} [" in text
    assert "cost 1.00x the target" in text


def test_the_ratios_interval_holds_what_both_intervals_allow_on_the_budget() -> None:
    """Truth: on C = 6·N·D the ratio is 6·D²/C; its ends are those of D."""
    fit = fit_isoflop(parabolas(noise=0.003), predict=[TARGET], resamples=0)
    optima = fit.predictions[0].optima
    ends = ratio_ci95(optima["tokens"], optima["params"])
    tokens = optima["tokens"].ci95
    assert ends is not None
    assert tokens is not None
    assert ends == pytest.approx([6 * end**2 / TARGET for end in tokens], rel=1e-2)
    assert re.search(
        r"N : D = 1 : \S+ \[\S+, \S+\] tokens a parameter", render_target(fit, fit.predictions[0])
    )


def test_inside_the_budgets_nothing_is_said_of_reach() -> None:
    """Truth: 1e19 lies between the budgets."""
    fit = fit_isoflop(parabolas(), predict=[1e19], resamples=0)
    assert "times the largest budget" not in render_target(fit, fit.predictions[0])
