"""How far a preparation has come."""

from __future__ import annotations

import pytest

from scaling_runs.data import progress as module
from scaling_runs.data.progress import Progress


def test_the_time_left_is_by_the_share_that_is_done() -> None:
    """Truth: by hand: a quarter in 10 s leaves 30 s; what is read at what speed."""
    with Progress("preparing", bytes_total=4000) as progress:
        for _ in range(10):
            progress.add(100, 25, train_tokens=20)
    assert progress.state(10.0) == "10 documents (1/s), 250 tokens (25/s), 30s left"


def test_the_nearer_end_counts_and_an_unknown_one_is_not_made_up() -> None:
    """Truth: half of the training tokens are there, and a quarter of the bytes; none is known of a stream."""
    with Progress("preparing", bytes_total=4000, tokens_total=400) as progress:
        progress.add(1000, 250, train_tokens=200)
    assert progress.share == 0.5
    with Progress("preparing") as progress:
        for _ in range(4):
            progress.add(1000, 250, train_tokens=200)
    assert progress.share is None
    assert progress.state(2.0) == "4 documents (2/s), 1K tokens (500/s)"


def test_where_nobody_watches_a_line_is_printed_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: one line where each addition comes past the time for one, none where that is far off."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    with Progress("preparing") as progress:
        progress.add(1000, 250, train_tokens=200)
    assert capsys.readouterr().err.startswith("preparing: 1 documents (")
    monkeypatch.setattr(module, "EVERY_S", 1000.0)
    with Progress("preparing") as progress:
        progress.add(1000, 250, train_tokens=200)
    assert capsys.readouterr().err == ""
