"""Which rows of a run are of which part of a mixture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs.data.shares import BLOCK, Rows, parts_of, require_slots, window_counts

WEIGHTS = st.lists(st.floats(0.01, 100), min_size=1, max_size=5)


def _shares(weights: list[float]) -> tuple[float, ...]:
    return tuple(weight / sum(weights) for weight in weights)


@given(weights=WEIGHTS, seed=st.integers(0, 9), block=st.integers(0, 3))
def test_each_block_of_rows_has_the_shares_to_a_row(weights: list[float], seed: int, block: int) -> None:
    """Truth: the shares times the block, rounded by at most one."""
    shares = _shares(weights)
    counts = np.bincount(parts_of(shares, seed, block * BLOCK, BLOCK), minlength=len(shares))
    assert counts.sum() == BLOCK
    assert (np.abs(counts - np.array(shares) * BLOCK) < 1).all()


@given(weights=WEIGHTS, seed=st.integers(0, 9), first=st.integers(0, 3 * BLOCK), rows=st.integers(1, 300))
def test_any_stretch_of_rows_has_the_shares_to_a_row_or_two(
    weights: list[float], seed: int, first: int, rows: int
) -> None:
    """Truth: slots that lie evenly: two more or fewer in a stretch, and as many again where it crosses a block."""
    shares = _shares(weights)
    counts = np.bincount(parts_of(shares, seed, first, rows), minlength=len(shares))
    assert (np.abs(counts - np.array(shares) * rows) <= 4).all()


@given(weights=WEIGHTS, seed=st.integers(0, 9), row=st.integers(0, 3 * BLOCK), rows=st.integers(1, 40))
def test_rows_before_a_row_are_counted_without_walking_there(
    weights: list[float], seed: int, row: int, rows: int
) -> None:
    """Truth: the rows from the first on, counted one by one; each row is of one part."""
    shares = _shares(weights)
    parts = [Rows(shares, seed, number) for number in range(len(shares))]
    walked = parts_of(shares, seed, 0, row + rows)
    for number, part in enumerate(parts):
        assert part.before(row) == (walked[:row] == number).sum()
    masks = np.array([part.mask(row, rows) for part in parts])
    assert (masks.sum(axis=0) == 1).all()
    assert (masks.argmax(axis=0) == walked[row:]).all()


def test_seeds_begin_elsewhere() -> None:
    """Truth: the first rows under two seeds; with 20 seeds, chance alike is nil."""
    assert len({parts_of((0.5, 0.3, 0.2), seed, 0, 50).tobytes() for seed in range(20)}) > 10


def test_the_order_of_a_seed_stays_what_it_is() -> None:
    """Truth: the rows as first written down; other ones would change every result that is on record."""
    assert parts_of((0.7, 0.3), 7, 0, 20).tolist() == [
        0,
        0,
        1,
        0,
        0,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        0,
        0,
        1,
        0,
        0,
        1,
        0,
    ]
    assert parts_of((0.7, 0.3), 7, BLOCK, 10).tolist() == [0, 1, 0, 0, 1, 0, 0, 0, 1, 0]


@given(weights=WEIGHTS, windows=st.integers(0, 3000))
def test_windows_are_shared_out_to_the_last(weights: list[float], windows: int) -> None:
    """Truth: they sum up, and none is off by one or more."""
    shares = _shares(weights)
    counts = window_counts(shares, windows)
    assert sum(counts) == windows
    assert all(abs(count - share * windows) < 1 for count, share in zip(counts, shares, strict=True))


def test_a_share_that_never_comes_up_is_one_sentence() -> None:
    """Truth: one in a million, where a block has 10,000 rows."""
    with pytest.raises(
        UserError, match=r"part 'rare' of the mixture has a share of less than 1 in 10,000 rows"
    ):
        require_slots(["web", "rare"], [1 - 1e-6, 1e-6])
