"""Batches of what is on disk: a pure function of (corpus, seed, step), so that a resume needs no replay."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from fit.errors import UserError
from scaling_runs.data.corpus import Corpus
from scaling_runs.data.shares import Rows, window_counts


class BatchReader(Protocol):
    """A rank's rows of one batch after another."""

    def batch(self, step: int) -> np.ndarray:
        """(rows of this rank, seq_len + 1) token ids, int64: inputs and, one further on, targets."""

    def lanes(self) -> dict[int, Any]:
        """What has to be kept to go on from here, by lane: nothing, where the step alone says it."""


class Batches:
    """Windows from all over the corpus, each once an epoch, in an order that the seed and the epoch set.

    Windows of `seq_len + 1` tokens begin every `seq_len` tokens, from a start that the epoch shifts, so that
    a second epoch cuts the text elsewhere. With `world_size` ranks, each sees its own rows of the very same
    batch.
    """

    def __init__(
        self,
        corpus: Corpus,
        seq_len: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        mine: Rows | None = None,
    ) -> None:
        """`mine`: of a mixture's batches, the rows that are of this corpus.

        UserError where the corpus is smaller than two windows. `world_size` divides `batch_size`.
        """
        assert batch_size % world_size == 0, "runtime.require_even_shares comes first"
        if not 0 <= seed < 2**63:
            raise UserError(f"seed is {seed}; it must be a whole number from 0 up, below 2^63")
        self.tokens = np.asarray(corpus.train())  # a plain view: what memmap adds to each look-up is slow
        self.windows = (len(self.tokens) - seq_len - 1) // seq_len
        """Windows an epoch: as many as fit whatever the epoch's shift."""
        if self.windows < 1:
            raise UserError(
                f"the corpus holds {len(self.tokens)} training tokens, fewer than two windows of {seq_len}; "
                f"give more data or lower model.seq_len"
            )
        self.seq_len, self.batch_size, self.seed = seq_len, batch_size, seed
        share = batch_size // world_size
        self.first, self.share, self.mine = rank * share, share, mine
        self.within = np.arange(seq_len + 1)

    def batch(self, step: int) -> np.ndarray:
        """(rows of this rank, seq_len + 1) token ids, int64: inputs and, one further on, targets."""
        row, rows = step * self.batch_size + self.first, self.share
        if self.mine is not None:
            row, rows = self.mine.before(row), int(self.mine.mask(row, rows).sum())
        if not rows:
            return np.empty((0, self.seq_len + 1), dtype=np.int64)
        places = np.arange(row, row + rows)
        first, last = int(places[0]) // self.windows, int(places[-1]) // self.windows
        starts = np.concatenate([self._starts(epoch, places) for epoch in range(first, last + 1)])
        return self.tokens[starts[:, None] + self.within].astype(np.int64)

    def lanes(self) -> dict[int, Any]:
        """None: the step alone says where a batch is."""
        return {}

    def _starts(self, epoch: int, places: np.ndarray) -> np.ndarray:
        """Where the windows begin that stand at `places` of the whole run and belong to `epoch`."""
        order, shift = _order(self.windows, self.seq_len, self.seed, epoch)
        within = places - epoch * self.windows
        mine = within[(within >= 0) & (within < self.windows)]
        return order[mine].astype(np.int64) * self.seq_len + shift


@lru_cache(
    maxsize=2
)  # 4 bytes a window; a worker's next cell mostly has the same, and half a second to wait for it
def _order(windows: int, seq_len: int, seed: int, epoch: int) -> tuple[np.ndarray, int]:
    """(windows,) a permutation of the windows, and the shift of their starts: the first epoch's is 0."""
    random = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    shift = 0 if epoch == 0 else int(random.integers(seq_len))
    dtype = np.int32 if windows < 2**31 else np.int64
    order = random.permutation(np.arange(windows, dtype=dtype))
    order.flags.writeable = False
    return order, shift


def validation_windows(corpus: Corpus, seq_len: int, tokens: int) -> np.ndarray:
    """The fixed validation set: (tokens // seq_len, seq_len + 1) token ids, evenly from the validation split.

    No seed enters: all cells are judged on the same text. Evenly in place is the best choice of windows that
    was found. Against the loss on the whole split of python_source (order-5 byte model, 262,144 tokens, 2048
    windows) the standard error is 0.005 nats; 0.011 for windows drawn at random, 0.010 for windows spread
    evenly over their order by zlib-compressed size, 0.006 to 0.011 for blocks in place, ordered inside by
    unigram, bigram or trigram loss. All cells share it: for the difference of two models it is 0.002.

    Of a mixture each part gives its share of them, one part's after another's (`validation_counts`).

    UserError where the split holds less than is asked for.
    """
    wanted = tokens // seq_len
    if not corpus.parts:
        return _evenly(corpus, seq_len, wanted, tokens, "")
    parts = zip(corpus.parts, validation_counts(corpus, wanted), strict=True)
    return np.concatenate(
        [_evenly(part.corpus, seq_len, count, tokens, f" of part '{part.name}'") for part, count in parts]
    )


def validation_counts(corpus: Corpus, windows: int) -> list[int]:
    """Of a mixture's validation windows, how many are of each part. UserError where a part would have none."""
    counts = window_counts([part.share for part in corpus.parts], windows)
    for part, count in zip(corpus.parts, counts, strict=True):
        if not count:
            raise UserError(
                f"part '{part.name}' has a share of {part.share:.2g}, which is none of {windows} validation windows; "
                f"raise val_tokens or its weight"
            )
    return counts


def mean_by_part(corpus: Corpus, of_windows: np.ndarray) -> dict[str, float]:
    """Of what is said of each validation window, the mean on each part, by name; nothing where there are none."""
    if not corpus.parts:
        return {}
    ends = np.cumsum(validation_counts(corpus, len(of_windows)))[:-1]
    own = zip(corpus.parts, np.split(of_windows, ends), strict=True)
    return {part.name: float(values.mean()) for part, values in own}


def _evenly(corpus: Corpus, seq_len: int, wanted: int, tokens: int, of: str) -> np.ndarray:
    """(wanted, seq_len + 1) token ids. `of`: which corpus, for a sentence."""
    split = corpus.val()
    there = (len(split) - 1) // seq_len
    if there < 1:
        raise UserError(
            f"the validation split{of} holds {len(split)} tokens, fewer than a window of {seq_len}; give more "
            f"data, raise data.val_fraction or lower model.seq_len"
        )
    if not 1 <= wanted <= there:
        most = there * seq_len * (tokens // seq_len) // wanted if wanted else there * seq_len
        raise UserError(
            f"val_tokens is {tokens}, and the validation split{of} holds {there} windows of {seq_len} tokens; "
            f"choose between {seq_len} and {most}, or raise data.val_fraction"
        )
    starts = np.linspace(0, there - 1, wanted).astype(np.int64) * seq_len
    return split[starts[:, None] + np.arange(seq_len + 1)].astype(np.int64)


def validation_fingerprint(windows: np.ndarray) -> str:
    """Hash of a validation set: losses compare where it is the same."""
    return hashlib.sha256(repr(windows.shape).encode() + windows.astype("<i8").tobytes()).hexdigest()
