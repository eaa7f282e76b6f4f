"""The validation set is fixed: no seed, no run, only the corpus and the length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fit.errors import UserError
from scaling_runs.data import validation_fingerprint, validation_windows
from tests.scaling_runs.data.corpora import numbered_corpus


def test_it_has_as_many_windows_as_were_asked_for(tmp_path: Path) -> None:
    """Truth: tokens // seq_len windows of one token more, for the targets."""
    windows = validation_windows(numbered_corpus(tmp_path, 50, 10_000), 16, 1000)
    assert windows.shape == (62, 17)
    assert windows.dtype == np.int64
    assert (windows - windows[:, :1] == np.arange(17)).all()


def test_it_is_spread_over_the_whole_split_without_overlap(tmp_path: Path) -> None:
    """Truth: in a corpus whose token i is i, gaps between starts are all but even and reach both ends."""
    starts = validation_windows(numbered_corpus(tmp_path, 50, 10_000), 16, 1600)[:, 0]
    gaps = np.diff(starts)
    assert starts[0] == 0
    assert starts[-1] > 10_000 - 3 * 16
    assert gaps.min() >= 16
    assert gaps.max() - gaps.min() <= 16


def test_all_of_the_split_can_be_asked_for(tmp_path: Path) -> None:
    """Truth: 161 tokens predict 160 others: ten windows of 16, each target once."""
    windows = validation_windows(numbered_corpus(tmp_path, 50, 161), 16, 160)
    np.testing.assert_array_equal(windows[:, 1:].ravel(), np.arange(1, 161))


@pytest.mark.parametrize(
    ("val_tokens", "asked", "sentence"),
    [
        (161, 176, "val_tokens is 176, and the validation split holds 10 windows of 16"),
        (161, 15, "val_tokens is 15, .* choose between 16 and 160"),
        (16, 16, "holds 16 tokens, fewer than a window of 16"),
    ],
)
def test_a_split_too_small_is_one_sentence(
    tmp_path: Path, val_tokens: int, asked: int, sentence: str
) -> None:
    """Truth: the sentence names what was asked for and what there is."""
    with pytest.raises(UserError, match=sentence):
        validation_windows(numbered_corpus(tmp_path, 50, val_tokens), 16, asked)


def test_its_fingerprint_tells_sets_apart_and_nothing_else(tmp_path: Path) -> None:
    """Truth: equal windows hash alike, one changed token or one other shape does not."""
    windows = validation_windows(numbered_corpus(tmp_path, 50, 1000), 16, 160)
    changed = windows.copy()
    changed[3, 5] += 1
    same = validation_windows(numbered_corpus(tmp_path / "again", 50, 1000), 16, 160)
    assert validation_fingerprint(windows) == validation_fingerprint(same)
    assert validation_fingerprint(windows) != validation_fingerprint(changed)
    assert validation_fingerprint(windows) != validation_fingerprint(windows.reshape(17, 10))
