"""From a corpus to batches.

A document is a Python file, a .txt, or a row of a .jsonl, a .parquet or a Hugging Face data set
(`sources.py`). It is dropped if its content was seen before, made into token ids, bytes or a tokeniser's
(`tokens.py`), and closed by a separator (`scratch.py`). The hash of its content, and nothing else, puts it on
the training or the validation side and gives its place there: each side is one long memory-mapped row of
documents in order of hash, the same on any machine (`prepare.py`, `corpus.py`). Windows are drawn from all
over the training row, across documents, each once an epoch (`batches.py`).

Of a data set that no disk holds, the validation side alone is prepared, of as many documents as it takes
(`prepare_stream.py`); the rest is read while cells train on it (`stream.py`).

What prepares a corpus is imported from `scaling_runs.data.prepare`; a cell only reads one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from scaling_runs.data.batches import Batches, BatchReader, validation_fingerprint, validation_windows
from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, load_corpus

__all__ = [
    "BatchReader",
    "Batches",
    "Corpus",
    "DataConfig",
    "load_corpus",
    "open_batches",
    "validation_fingerprint",
    "validation_windows",
]


@contextmanager
def open_batches(
    corpus: Corpus,
    seq_len: int,
    batch_size: int,
    seed: int,
    *,
    step: int,
    places: Mapping[int, dict[str, Any]],
    rank: int,
    world_size: int,
) -> Iterator[BatchReader]:
    """A rank's rows of the batches from `step` on; `places` is where a stream was read up to then."""
    if corpus.stream is None:
        yield Batches(corpus, seq_len, batch_size, seed, rank=rank, world_size=world_size)
        return
    from scaling_runs.data.stream import (
        StreamedBatches,
    )  # needs `datasets`, for which other cells need not wait

    with StreamedBatches(
        corpus, seq_len, batch_size, seed, step=step, places=places, rank=rank, world_size=world_size
    ) as batches:
        yield batches
