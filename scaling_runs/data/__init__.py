"""From a corpus to batches.

A document is a Python file, a .txt, or a row of any other file or of a Hugging Face data set
(`sources.py`, `rows.py`). It is dropped if its content was seen before, made into token ids, bytes or a tokeniser's
(`tokens.py`), and closed by a separator (`scratch.py`). The hash of its content, and nothing else, puts it on
the training or the validation side and gives its place there: each side is one long memory-mapped row of
documents in order of hash, the same on any machine (`prepare_disk.py`, `corpus.py`). Windows are drawn from all
over the training row, across documents, each once an epoch (`batches.py`).

Of a data set that no disk holds, the validation side alone is prepared, of as many documents as it takes
(`prepare_stream.py`); the rest is read while cells train on it (`stream.py`, `files.py`). A mixture is made of such
corpora (`prepare_mixture.py`); which of them a row of a run is of, `shares.py` says, and `mixture.py` puts it there.

What prepares a corpus is imported from `scaling_runs.data.prepare`; a cell only reads one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from scaling_runs.data.batches import (
    Batches,
    BatchReader,
    mean_by_part,
    validation_counts,
    validation_fingerprint,
    validation_windows,
)
from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, as_asked, load_corpus
from scaling_runs.data.mixture import MixedBatches, places_of
from scaling_runs.data.shares import Rows

__all__ = [
    "BatchReader",
    "Batches",
    "Corpus",
    "DataConfig",
    "as_asked",
    "load_corpus",
    "mean_by_part",
    "open_batches",
    "validation_counts",
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
    """A rank's rows of the batches from `step` on; `places` is where streams were read up to then."""
    read = partial(
        _of_one,
        seq_len=seq_len,
        batch_size=batch_size,
        seed=seed,
        step=step,
        rank=rank,
        world_size=world_size,
    )
    if not corpus.parts:
        with read(corpus, places=places, mine=None) as batches:
            yield batches
        return
    shares = tuple(part.share for part in corpus.parts)
    rows = [Rows(shares, seed, number) for number in range(len(shares))]
    with ExitStack() as opened:
        readers = [
            opened.enter_context(read(part.corpus, places=places_of(number, places), mine=rows[number]))
            for number, part in enumerate(corpus.parts)
        ]
        yield MixedBatches(readers, rows, batch_size, rank, world_size)


@contextmanager
def _of_one(
    corpus: Corpus,
    *,
    seq_len: int,
    batch_size: int,
    seed: int,
    step: int,
    places: Mapping[int, dict[str, Any]],
    rank: int,
    world_size: int,
    mine: Rows | None,
) -> Iterator[BatchReader]:
    """Of a corpus that is no mixture, those rows that are its own."""
    where: dict[str, Any] = {"rank": rank, "world_size": world_size, "mine": mine}
    if corpus.stream is None:
        yield Batches(corpus, seq_len, batch_size, seed, **where)
        return
    from scaling_runs.data.stream import (
        StreamedBatches,  # needs `datasets`, for which other cells need not wait
    )

    with StreamedBatches(corpus, seq_len, batch_size, seed, step=step, places=places, **where) as batches:
        yield batches
