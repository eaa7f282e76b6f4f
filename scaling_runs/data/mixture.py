"""Batches of a mixture, put together from its parts' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scaling_runs.data.batches import BatchReader
from scaling_runs.data.shares import Rows

LANES_A_PART = 1024
"""More than any part has: lane 3 of part 2 is kept under 2051."""


class MixedBatches:
    """Each row from the part that its place in the run says, with the part's own next window in it."""

    def __init__(
        self,
        readers: Sequence[BatchReader],
        rows: Sequence[Rows],
        batch_size: int,
        rank: int,
        world_size: int,
    ) -> None:
        """`readers` give those of this rank's rows that are of their part, as `rows` has it."""
        self.readers, self.rows, self.batch_size = readers, rows, batch_size
        self.share = batch_size // world_size
        self.first = rank * self.share

    def batch(self, step: int) -> np.ndarray:
        """(rows of this rank, seq_len + 1) token ids, int64."""
        first = step * self.batch_size + self.first
        of_parts = [reader.batch(step) for reader in self.readers]
        whole = np.empty((self.share, of_parts[0].shape[1]), dtype=np.int64)
        for rows, windows in zip(self.rows, of_parts, strict=True):
            whole[rows.mask(first, self.share)] = windows
        return whole

    def lanes(self) -> dict[int, Any]:
        """The places of all parts' lanes, numbered through."""
        return {
            numbered(part, lane): place
            for part, reader in enumerate(self.readers)
            for lane, place in reader.lanes().items()
        }


def numbered(part: int, lane: int) -> int:
    return part * LANES_A_PART + lane


def places_of(part: int, places: Mapping[int, Any]) -> dict[int, Any]:
    """Those of one part, by its own numbers."""
    return {key % LANES_A_PART: place for key, place in places.items() if key // LANES_A_PART == part}
