"""Batches are a pure function of (corpus, seed, step)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs.data import Batches
from tests.scaling_runs.data.corpora import numbered_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("numbers")


def test_a_window_is_a_run_of_neighbouring_tokens(folder: Path) -> None:
    """Truth: in a corpus whose token i is i, a window counts up by ones from a multiple of the length."""
    batch = Batches(numbered_corpus(folder, 1000), 16, 8, seed=3).batch(0)
    assert batch.shape == (8, 17)
    assert batch.dtype == np.int64
    assert (batch[:, 0] % 16 == 0).all()
    assert (batch - batch[:, :1] == np.arange(17)).all()


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(40, 600),
    seq_len=st.integers(2, 16),
    batch_size=st.integers(1, 7),
    seed=st.integers(0, 9),
)
def test_each_window_is_seen_once_an_epoch(
    folder: Path, tokens: int, seq_len: int, batch_size: int, seed: int
) -> None:
    """Truth: the starts of an epoch, sorted, are as far apart as a window is long; three epochs over."""
    batches = Batches(numbered_corpus(folder, tokens), seq_len, batch_size, seed)
    steps = -(-3 * batches.windows // batch_size)
    starts = np.concatenate([batches.batch(step)[:, 0] for step in range(steps)])[: 3 * batches.windows]
    for epoch in starts.reshape(3, -1):
        assert (np.diff(np.sort(epoch)) == seq_len).all()
        assert epoch.min() < seq_len
        assert epoch.max() + seq_len < tokens


def test_the_first_epoch_leaves_less_than_two_windows_unread(folder: Path) -> None:
    """Truth: the tokens that no window of the first epoch predicts, counted."""
    batches = Batches(numbered_corpus(folder, 1000), 16, 1, seed=0)
    targets = np.concatenate([batches.batch(step)[0, 1:] for step in range(batches.windows)])
    assert len(np.unique(targets)) == len(targets) > 1000 - 2 * 16


def test_a_second_epoch_cuts_elsewhere_and_in_another_order(folder: Path) -> None:
    """Truth: remainders of the starts tell the cut, their order the permutation."""
    batches = Batches(numbered_corpus(folder, 4000), 16, 1, seed=1)
    starts = np.array([batches.batch(step)[0, 0] for step in range(3 * batches.windows)]).reshape(3, -1)
    assert len({int(epoch[0]) % 16 for epoch in starts}) > 1
    assert not (np.argsort(starts[0]) == np.argsort(starts[1])).all()


@settings(max_examples=40, deadline=None)
@given(step=st.integers(0, 200), before=st.lists(st.integers(0, 200), max_size=3))
def test_a_batch_does_not_depend_on_what_was_asked_before(folder: Path, step: int, before: list[int]) -> None:
    """Truth: a fresh object asked for that step alone, as a resumed run asks it."""
    corpus = numbered_corpus(folder, 500)
    used = Batches(corpus, 8, 6, seed=5)
    for earlier in before:
        used.batch(earlier)
    np.testing.assert_array_equal(used.batch(step), Batches(corpus, 8, 6, seed=5).batch(step))


@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_the_ranks_together_see_the_batch_of_one_process(folder: Path, world_size: int) -> None:
    """Truth: one process's batch, also where it crosses into the next epoch."""
    corpus = numbered_corpus(folder, 500)
    whole = Batches(corpus, 8, 6, seed=5)
    ranks = [Batches(corpus, 8, 6, seed=5, rank=rank, world_size=world_size) for rank in range(world_size)]
    for step in range(30):
        np.testing.assert_array_equal(np.concatenate([part.batch(step) for part in ranks]), whole.batch(step))


def test_seeds_give_different_orders(folder: Path) -> None:
    """Truth: two seeds' first batches differ; with 249 windows, chance alike is nil."""
    corpus = numbered_corpus(folder, 2000)
    assert (Batches(corpus, 8, 8, seed=0).batch(0) != Batches(corpus, 8, 8, seed=1).batch(0)).any()


def test_the_order_of_a_seed_stays_what_it_is(folder: Path) -> None:
    """Truth: the starts as first written down; other ones would change every result that is on record."""
    batches = Batches(numbered_corpus(folder, 1000), 10, 4, seed=7)
    assert batches.batch(0)[:, 0].tolist() == [750, 740, 720, 550]
    assert batches.batch(30)[:, 0].tolist() == [117, 667, 877, 957]


def test_neighbouring_rows_come_from_all_over_the_corpus(folder: Path) -> None:
    """Truth: the mean of uniform places is the middle, their sd length/sqrt(12), to 3 standard errors."""
    tokens = 60_000
    starts = Batches(numbered_corpus(folder, tokens), 8, 2000, seed=2).batch(0)[:, 0] / tokens
    assert abs(starts.mean() - 0.5) < 3 * (12 * 2000) ** -0.5
    assert starts.std() == pytest.approx(12**-0.5, rel=0.05)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seq_len": 60}, "100 training tokens, fewer than two windows of 60"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_batched_is_one_sentence(folder: Path, change: dict[str, int], sentence: str) -> None:
    """Truth: the sentence names the value."""
    options = {"seq_len": 8, "batch_size": 4, "seed": 0} | change
    with pytest.raises(UserError, match=sentence):
        Batches(numbered_corpus(folder, 100), **options)  # type: ignore[arg-type]
