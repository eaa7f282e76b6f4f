"""Batches that are a pure function of (corpus, seed, step), so that a resume needs no replay."""

from __future__ import annotations

import numpy as np

from fit.errors import UserError
from scaling_runs.data.corpus import Corpus


class Batches:
    """Windows from all over the corpus, each once an epoch, in an order that the seed and the epoch set.

    Windows of `seq_len + 1` tokens begin every `seq_len` tokens, from a start that the epoch shifts, so that a
    second epoch cuts the text elsewhere. With `world_size` ranks, each sees its own rows of the very same batch.
    """

    def __init__(
        self, corpus: Corpus, seq_len: int, batch_size: int, seed: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        """UserError where the corpus is smaller than a window or the batch does not divide over the ranks."""
        if batch_size % world_size:
            raise UserError(
                f"a batch of {batch_size} sequences does not divide over {world_size} ranks; start a number of "
                f"ranks that divides it"
            )
        self.tokens = corpus.train()
        self.windows = (len(self.tokens) - seq_len - 1) // seq_len
        """Windows an epoch: as many as fit whatever the epoch's shift."""
        if self.windows < 1:
            raise UserError(
                f"the corpus holds {len(self.tokens)} training tokens, fewer than two windows of {seq_len}; give more "
                f"data or lower model.seq_len"
            )
        self.seq_len, self.batch_size, self.seed = seq_len, batch_size, seed
        share = batch_size // world_size
        self.rows = np.arange(rank * share, (rank + 1) * share)
        self.within = np.arange(seq_len + 1)
        self._epochs: dict[int, tuple[np.ndarray, int]] = {}

    def batch(self, step: int) -> np.ndarray:
        """(rows of this rank, seq_len + 1) token ids, int64: inputs and, one further on, targets."""
        places = step * self.batch_size + self.rows
        starts = [self._start(*divmod(int(place), self.windows)) for place in places]
        return self.tokens[np.asarray(starts)[:, None] + self.within].astype(np.int64)

    def _start(self, epoch: int, place: int) -> int:
        """Where the window at `place` in the order of `epoch` begins."""
        if epoch not in self._epochs:
            # a batch spans at most neighbouring epochs; older orders are never asked for again
            self._epochs = {known: order for known, order in self._epochs.items() if known >= epoch - 1}
            self._epochs[epoch] = self._order(epoch)
        order, shift = self._epochs[epoch]
        return int(order[place]) * self.seq_len + shift

    def _order(self, epoch: int) -> tuple[np.ndarray, int]:
        """A permutation of the windows, and the shift of their starts: the first epoch's is 0."""
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        shift = 0 if epoch == 0 else int(random.integers(self.seq_len))
        return random.permutation(self.windows), shift


def validation_windows(corpus: Corpus, seq_len: int, tokens: int) -> np.ndarray:
    """The fixed validation set: (tokens // seq_len, seq_len + 1) token ids, spread evenly over the validation split.

    No seed enters: all cells are judged on the same text. UserError where the split holds less than is asked for.
    """
    split = corpus.val()
    wanted, there = tokens // seq_len, (len(split) - 1) // seq_len
    if wanted < 1 or wanted > there:
        raise UserError(
            f"val_tokens is {tokens}, and the validation split holds {there} windows of {seq_len} tokens; choose "
            f"between {seq_len} and {there * seq_len}, or raise data.val_fraction"
        )
    starts = np.linspace(0, there - 1, wanted).astype(np.int64) * seq_len
    return split[starts[:, None] + np.arange(seq_len + 1)].astype(np.int64)
