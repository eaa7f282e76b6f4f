"""Budgets as clusters of log FLOPs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.budgets import cluster_budgets, require_budgets
from fit.errors import UserError


@given(st.lists(st.floats(15, 25), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_clusters_do_not_depend_on_the_order_of_the_runs(exponents: list[float], random: Any) -> None:
    flops = np.array([10**e * f for e in exponents for f in (0.99, 1.0, 1.01)])
    order = list(range(len(flops)))
    random.shuffle(order)
    np.testing.assert_allclose(cluster_budgets(flops)[order], cluster_budgets(flops[order]), rtol=1e-12)


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True),
    st.floats(1e-9, 1e9),
    st.lists(st.floats(0.96, 1.04), min_size=1, max_size=4),
)
def test_rescaling_the_flops_rescales_the_budgets(
    steps: list[int], factor: float, spread: list[float]
) -> None:
    """Truth: the geometric mean of each cluster by hand; clusters lie a factor of 2 apart."""
    flops = np.array([1e18 * 2.0**step * one for step in steps for one in spread])
    means = np.repeat([1e18 * 2.0**step * np.exp(np.mean(np.log(spread))) for step in steps], len(spread))
    np.testing.assert_allclose(cluster_budgets(flops), means, rtol=1e-12)
    np.testing.assert_allclose(cluster_budgets(factor * flops), factor * means, rtol=1e-12)


def test_equal_flops_are_their_own_budget_to_the_last_bit() -> None:
    """Truth: the number itself; the exponential of its logarithm need not be it."""
    flops = np.repeat([1e18, 3e19, 6.000000000000001e20], 5)
    assert np.array_equal(cluster_budgets(flops), flops)


def test_a_hundred_thousand_budgets_are_told_apart_at_once() -> None:
    """Truth: each is its own; a loop over budgets with a mask each would take minutes."""
    flops = np.exp(0.002 * np.arange(100_000))
    assert np.array_equal(cluster_budgets(flops[::100]), flops[::100])
    with pytest.raises(UserError, match="without a gap"):
        require_budgets(np.ones_like(flops), flops, "runs.csv")
