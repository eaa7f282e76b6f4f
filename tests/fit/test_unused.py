"""Every run is in the laws or listed with why it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.isoflop import fit_isoflop
from fit.table import SetAside
from fit.valley import ParabolaOptions
from tests.simulated import BUDGETS, parabolas


def test_all_runs_of_a_clean_table_are_used() -> None:
    assert fit_isoflop(parabolas(), resamples=0).set_aside == ()


def test_what_the_table_sets_aside_comes_first_and_unusable_budgets_follow() -> None:
    """The first budget's losses are a hill; the second's models are of one size, so that only params lack a law."""
    runs = parabolas()
    loss = np.where(runs.budget == BUDGETS[0], -runs.loss + 9, runs.loss)
    params = np.where(runs.budget == BUDGETS[1], 1e8, runs.params)
    found = fit_isoflop(
        replace(runs, loss=loss, params=params, set_aside=(SetAside("run 99", "died"),)), resamples=0
    ).set_aside
    assert found[0] == SetAside("run 99", "died")
    assert [item.run_id for item in found[1:]] == [f"run {i}" for i in range(14)]
    assert {item.reason for item in found[1:8]} == {"in no law: its budget's parabola opens downward"}
    assert {item.reason for item in found[8:]} == {
        "not in the params law: its budget has fewer than 3 different sizes"
    }


@settings(max_examples=10, deadline=None)
@given(window=st.floats(4, 40), noise=st.floats(0, 0.02), seed=st.integers(0, 100))
def test_used_and_unused_runs_are_all_runs(window: float, noise: float, seed: int) -> None:
    """Truth: the runs of nonzero weight in a valley with a minimum, of each axis; the grid spans 36x."""
    runs = parabolas(noise=noise, seed=seed, sizes=9)
    fit = fit_isoflop(runs, options=ParabolaOptions(window=window), resamples=0)
    unused = {item.run_id for item in fit.set_aside}
    used = {
        str(name)
        for budget in fit.budgets
        for name, tokens, params in zip(
            runs.run_id[runs.budget == budget.flops], budget.tokens.used, budget.params.used, strict=True
        )
        if tokens and params and budget.tokens.interior and budget.params.interior
    }
    assert unused | used == set(map(str, runs.run_id))
    assert not unused & used
