"""Which budget a run belongs to, where its table does not say: clusters of log FLOPs."""

from __future__ import annotations

import numpy as np

from fit.errors import UserError

CLUSTER_GAP = 0.15
"""Runs whose FLOPs lie further apart than this, in natural log, belong to two budgets."""
CLUSTER_SPAN = 2.0
"""Runs of one budget spend within this factor of each other; a cluster that is wider is no budget."""


def cluster_budgets(flops: np.ndarray) -> np.ndarray:
    """(n,) the budget of each run: the geometric mean of its cluster, clusters parted by gaps in log FLOPs."""
    order = np.argsort(flops, kind="stable")
    ascending = flops[order]
    logs = np.log(ascending)
    starts = np.concatenate([[0], 1 + np.flatnonzero(np.diff(logs) > CLUSTER_GAP)])
    counts = np.diff(np.append(starts, len(flops)))
    lowest = ascending[starts]
    same = lowest == ascending[starts + counts - 1]  # a mean of logarithms would move it by a bit
    budgets = np.where(same, lowest, np.exp(np.add.reduceat(logs, starts) / counts))
    budget = np.empty_like(flops)
    budget[order] = np.repeat(budgets, counts)
    return budget


def require_budgets(budget: np.ndarray, flops: np.ndarray, source: str) -> None:
    """UserError where FLOPs run on without gaps, so that clusters are no budgets."""
    order = np.lexsort((flops, budget))
    starts = np.unique(budget[order], return_index=True)[1]
    lowest, highest = flops[order][starts], flops[order][np.append(starts[1:], len(flops)) - 1]
    wide = np.flatnonzero(highest > CLUSTER_SPAN * lowest)
    if len(wide):
        low, high = lowest[wide[0]], highest[wide[0]]
        raise UserError(
            f"'{source}' has no budget column, and its FLOPs run from {low:.3g} to {high:.3g} without a gap, so "
            f"that no budgets can be told apart; add a budget column, or name it with --column budget=NAME"
        )
