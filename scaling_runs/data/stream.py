"""Batches of a data set that is read while it is trained on, and is on no disk.

Its text comes in lanes, as many as divide the batch, each with files of its own that follow one another: a row of a
batch is always of the same lane. So what a step trains on depends on the seed alone, not on the ranks; each rank reads
the lanes of its own rows; and a place in the data set is a place in each lane, which a checkpoint keeps. What that
takes is read by `datasets`, whose state of a file is such a place; its shuffle buffer would be lost with each resume,
and its `split_dataset_by_node` gives each number of ranks another order.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from fit.errors import UserError
from scaling_runs.data.config import BPE
from scaling_runs.data.corpus import TOKENIZER, Corpus, Stream
from scaling_runs.data.files import Files
from scaling_runs.data.scratch import is_validation
from scaling_runs.data.shares import Rows
from scaling_runs.data.tokens import Tokenizer, open_tokenizer

MAX_LANES = 64
"""Enough to mix text and to share out over ranks, few enough to hold open."""
READ_AHEAD = 8
"""Batches that are read while as many are trained on: reading comes in bursts of a group of rows."""
READ_AHEAD_TOKENS = 1 << 20
"""Of a rank, at most, past its next batch: large batches are bursts enough, and would be long in coming."""
MAX_THREADS = 16

LanePlace = dict[str, Any]
"""A place in a lane, as a checkpoint keeps it: epoch, file, what `datasets` says of its rows, tokens not yet used."""


@lru_cache(maxsize=8)  # a worker's next cell mostly reads the same parts, whose list of files takes seconds
def _opened(stream: Stream, folder: Path) -> tuple[Files, Tokenizer]:
    """UserError where either is not what it was when the corpus was prepared."""
    tokenizer = open_tokenizer(str(folder / TOKENIZER) if stream.tokenizer == BPE else stream.tokenizer)
    if tokenizer.identity != stream.tokenizer_identity:
        raise UserError(
            f"tokeniser '{stream.tokenizer}' is not the one that this sweep was planned with; bring that one back, or "
            f"start a sweep anew with another store"
        )
    files = Files(stream)
    if len(files) != stream.files:
        raise UserError(
            f"{stream.where} has {len(files)} files, and had {stream.files} when this sweep was planned; bring those "
            f"back, or start a sweep anew with another store"
        )
    return files, tokenizer


def lane_count(batch_size: int, files: int) -> int:
    """The most lanes that divide the batch and have a file each."""
    return max(n for n in range(1, min(batch_size, files, MAX_LANES) + 1) if batch_size % n == 0)


class Lane:
    """One row of text without end: some of the files, again in another order once they are through."""

    def __init__(
        self,
        files: Files,
        tokenizer: Tokenizer,
        order: Callable[[int], Sequence[int]],
        bytes_per_token: float,
        place: LanePlace | None,
    ) -> None:
        """`order`: the lane's files in an epoch. `place`: where to go on from."""
        self.files, self.tokenizer, self.order = files, tokenizer, order
        self.bytes_per_token = bytes_per_token
        at = place or {"epoch": 0, "file": 0, "rows": None, "tokens": []}
        self.epoch, self.file = int(at["epoch"]), int(at["file"])
        self.rows_state: dict[str, Any] | None = at["rows"]
        """Where to begin the file, until it is opened."""
        self.tokens = np.asarray(at["tokens"], dtype=np.int64)
        self._rows: Any = None
        self._texts = self._training_texts()

    def read(self, windows: int, seq_len: int) -> tuple[np.ndarray, Callable[[], LanePlace]]:
        """((windows, seq_len + 1) token ids, each a token into the next; the place after them)."""
        needed = windows * seq_len + 1
        parts, there = [self.tokens], len(self.tokens)
        while there < needed:
            more = self.tokenizer.encode(self._some_texts((needed - there) * self.bytes_per_token))
            parts += more
            there += sum(map(len, more))
        tokens = np.concatenate(parts)
        self.tokens = tokens[windows * seq_len :]
        cut = tokens[:needed][np.arange(windows)[:, None] * seq_len + np.arange(seq_len + 1)]
        return cut.astype(np.int64), self.place()

    def place(self) -> Callable[[], LanePlace]:
        """Of now, written out when it is asked for: only a checkpoint needs it."""
        rows = self.rows_state if self._rows is None else self._rows.state_dict()
        epoch, file, tokens = self.epoch, self.file, self.tokens
        return lambda: {"epoch": epoch, "file": file, "rows": rows, "tokens": tokens.tolist()}

    def _some_texts(self, at_least_bytes: float) -> list[bytes]:
        some: list[bytes] = []
        size = 0
        while size < at_least_bytes:
            some.append(next(self._texts))
            size += len(some[-1])
        return some

    def _training_texts(self) -> Iterator[bytes]:
        """From the lane's place on, without end. UserError where no file of the data set holds any.

        Where the lane's own hold none, it goes on with those of its next epoch, which are others.
        """
        fraction = self.files.stream.val_fraction
        empty: set[int] = set()
        while True:
            mine = self.order(self.epoch)
            while self.file < len(mine):
                found = self.rows_state is not None  # or not known
                self._rows = self.files.open(mine[self.file])
                if self.rows_state is not None:
                    self._rows.load_state_dict(self.rows_state)
                for text in self.files.texts(mine[self.file], self._rows):
                    if not is_validation(hashlib.sha256(text).digest(), fraction):
                        found = True
                        yield text
                if not found:
                    empty.add(mine[self.file])
                self.file, self._rows, self.rows_state = self.file + 1, None, None
            if len(empty) == len(self.files):
                raise UserError(
                    f"{self.files.stream.where}: none of its {len(empty)} files holds text to train on; choose other "
                    f"data, or change data.val_fraction={fraction}"
                )
            self.epoch, self.file = self.epoch + 1, 0


@dataclass(frozen=True)
class _Read:
    """A rank's rows of one batch."""

    rows: np.ndarray
    places: Mapping[int, Callable[[], LanePlace]]


class StreamedBatches:
    """One batch after another from `step` on, read ahead by threads of its own; a context."""

    def __init__(
        self,
        corpus: Corpus,
        seq_len: int,
        batch_size: int,
        seed: int,
        *,
        step: int = 0,
        places: Mapping[int, LanePlace] | None = None,
        rank: int = 0,
        world_size: int = 1,
        mine: Rows | None = None,
    ) -> None:
        """`places`: of all lanes, as `lanes` gave them after `step` steps; of no step, empty.

        `mine`: of a mixture's batches, the rows that are of this corpus. `world_size` divides `batch_size`.

        UserError where the data set or its tokeniser can't be had.
        """
        assert corpus.stream is not None
        files, tokenizer = _opened(corpus.stream, corpus.folder)
        count = lane_count(batch_size, len(files))
        height = batch_size // count
        """Rows of a batch that are of one lane."""
        share = batch_size // world_size
        lanes = range(rank * share // height, ((rank + 1) * share - 1) // height + 1)
        self.batch_size, self.mine = batch_size, mine
        self.first_row = lanes[0] * height
        """Of a batch, the first that this rank's lanes fill; its own may begin further on."""
        self.of_rank = np.zeros(len(lanes) * height, dtype=bool)
        self.of_rank[rank * share - self.first_row :][:share] = True
        self.seq_len, self.height, self.step, self._read_up_to = seq_len, height, step, step
        self._lanes = {
            lane: Lane(
                files,
                tokenizer,
                partial(_lane_files, len(files), seed, count, lane),
                corpus.bytes_per_token,
                (places or {}).get(lane),
            )
            for lane in lanes
        }
        assert step == 0 or set(lanes) <= set(places or {}), "a later step is found by its places alone"
        self._places: Mapping[int, Callable[[], LanePlace]] = {
            lane: one.place() for lane, one in self._lanes.items()
        }
        self._ready: deque[_Read] = deque()
        self._ahead_batches = min(READ_AHEAD, max(1, READ_AHEAD_TOKENS // (share * seq_len)))
        self._ended = Event()
        self._threads = ThreadPoolExecutor(min(len(lanes), MAX_THREADS), thread_name_prefix="reading")
        self._read_on()

    def __enter__(self) -> StreamedBatches:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()  # or whoever ends waits for batches that nobody will train on
        self._threads.shutdown(cancel_futures=True)

    def batch(self, step: int) -> np.ndarray:
        """(rows of this rank, seq_len + 1) token ids, int64: inputs and, one further on, targets.

        Steps come in order. UserError where text can't be read.
        """
        assert step == self.step, "a stream has no way back"
        if not self._ready:
            by_lane = [reading.result() for reading in self._reading]
            self._read_on()
            for ahead, parts in enumerate(zip(*by_lane, strict=True)):
                rows = np.concatenate([windows for windows, _ in parts])
                rows = rows[self.of_rank[self._rows_of_mine(step + ahead)]]
                places = dict(zip(self._lanes, (place for _, place in parts), strict=True))
                self._ready.append(_Read(rows, places))
        read = self._ready.popleft()
        self.step, self._places = step + 1, read.places
        return read.rows

    def lanes(self) -> dict[int, LanePlace]:
        """The places of this rank's lanes after the last batch."""
        return {lane: place() for lane, place in self._places.items()}

    def _rows_of_mine(self, step: int) -> np.ndarray:
        """(rows of this rank's lanes,) which of them are filled from this corpus."""
        if self.mine is None:
            return np.ones(len(self.of_rank), dtype=bool)
        return self.mine.mask(step * self.batch_size + self.first_row, len(self.of_rank))

    def _read_on(self) -> None:
        """The next batches, lane by lane: of each as many windows as it has rows to fill."""
        ahead = range(self._read_up_to, self._read_up_to + self._ahead_batches)
        self._read_up_to = ahead.stop
        filled = [self._rows_of_mine(step).reshape(-1, self.height).sum(axis=1) for step in ahead]
        self._reading = [
            self._threads.submit(self._ahead, lane, [int(of_step[number]) for of_step in filled])
            for number, lane in enumerate(self._lanes.values())
        ]

    def _ahead(self, lane: Lane, windows: list[int]) -> list[tuple[np.ndarray, Callable[[], LanePlace]]]:
        return [lane.read(count, self.seq_len) for count in windows if not self._ended.is_set()]


def _lane_files(files: int, seed: int, lanes: int, lane: int, epoch: int) -> list[int]:
    """Those of one lane in an epoch, in its order: each file is one lane's."""
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(files)
    return [int(file) for file in order[lane::lanes]]
