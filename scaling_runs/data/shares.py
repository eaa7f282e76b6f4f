"""Which rows of a run are of which part of a mixture. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fit.errors import UserError

BLOCK = 10_000
"""Rows of a run after which each part has had its share to one row, whatever the weights."""


@dataclass(frozen=True)
class Rows:
    """The rows of a run, counted through from its first batch's first, that are of one part."""

    shares: tuple[float, ...]
    seed: int
    part: int

    def mask(self, first: int, rows: int) -> np.ndarray:
        """(rows,) whether each row from `first` on is of this part."""
        return parts_of(self.shares, self.seed, first, rows) == self.part

    def before(self, row: int) -> int:
        """How many of the rows before `row` are of this part."""
        block, within = divmod(row, BLOCK)
        return block * _slots(self.shares)[self.part] + int(
            (_order(self.shares, self.seed, block)[:within] == self.part).sum()
        )


def parts_of(shares: tuple[float, ...], seed: int, first: int, rows: int) -> np.ndarray:
    """(rows,) the part of each row from `first` on: a function of these alone, so that a resume needs no replay."""
    blocks = range(first // BLOCK, (first + rows - 1) // BLOCK + 1)
    order = np.concatenate([_order(shares, seed, block) for block in blocks])
    return order[first - blocks[0] * BLOCK :][:rows]


def window_counts(shares: Sequence[float], windows: int) -> list[int]:
    """`windows` shared out: whole numbers nearest to the shares, by largest remainder."""
    exact = [share * windows for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda part: counts[part] - exact[part])
    for part in by_remainder[: windows - sum(counts)]:
        counts[part] += 1
    return counts


@lru_cache(maxsize=8)
def _slots(shares: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(window_counts(shares, BLOCK))


@lru_cache(maxsize=8)
def _order(shares: tuple[float, ...], seed: int, block: int) -> np.ndarray:
    """(BLOCK,) the parts of a block's rows: each part's lie evenly from a start that seed and block set.

    So a batch has its shares to a row or so, where rows drawn by chance would leave a part out of some.
    """
    # jumped, for the very keys also order windows and files
    random = np.random.Generator(np.random.Philox(key=[seed, block]).jumped())
    slots = _slots(shares)
    places = np.concatenate([(np.arange(count) + random.random()) / count for count in slots if count])
    order = np.repeat(np.arange(len(slots)), slots)[np.argsort(places, kind="stable")]
    order.flags.writeable = False
    return order


def require_slots(names: Sequence[str], shares: Sequence[float]) -> None:
    """UserError where a part's share is too small to come up."""
    for name, count in zip(names, _slots(tuple(shares)), strict=True):
        if not count:
            raise UserError(
                f"part '{name}' of the mixture has a share of less than 1 in {BLOCK:,} rows; raise its weight or "
                f"leave it out"
            )
