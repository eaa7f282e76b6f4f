"""Spread of equal cells that differ in their seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fit.table import RunTable
from fit.tuning import SWEPT


@dataclass(frozen=True)
class SeedNoise:
    """What the same cell gives with other seeds."""

    sd: float
    """Nats, pooled over groups."""
    degrees_of_freedom: int


def seed_noise(table: RunTable) -> SeedNoise | None:
    """Pooled standard deviation of runs equal in budget, params, tokens and, where the table tells, learning rate and
    batch; None where no run was repeated."""
    settings = [np.nan_to_num(table.optional[name]) for name in SWEPT if name in table.optional]
    keys = np.stack([table.budget, table.params, table.tokens, *settings], axis=1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.ravel()
    counts = np.bincount(group)
    freedom = int(np.sum(counts - 1))
    if freedom == 0:
        return None
    means = np.bincount(group, weights=table.loss) / counts
    return SeedNoise(float(np.sqrt(np.sum((table.loss - means[group]) ** 2) / freedom)), freedom)
