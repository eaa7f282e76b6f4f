"""The files of a streamed data set, each read by itself and from any place."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Iterator
from typing import Any

from scaling_runs.data.corpus import Stream
from scaling_runs.data.hub import require_hub
from scaling_runs.data.rows import load_rows, reading, text_rows, texts_of
from scaling_runs.data.scratch import Hashed, is_validation

AT_ONCE = 64
"""Files that are read in turn, where text from all over a data set is wanted."""
AGAIN = "and run the same command again: cells go on from their checkpoints"


class Files:
    """The files of a stream, each read from any of its places."""

    def __init__(self, stream: Stream) -> None:
        """UserError where the data set can't be had."""

        local = os.path.exists(stream.path)
        self.hint = f"mend it, {AGAIN}" if local else f"check its name and the connection, {AGAIN}"

        def load() -> tuple[Any, list[str]]:
            require_hub(stream.path, "data set", f"or {self.hint}")
            at = {} if stream.revision is None else {"revision": stream.revision}
            return load_rows(
                stream.path, stream.name, split=stream.split, data_dir=stream.data_dir, streaming=True, **at
            )

        self.stream = stream
        self.rows, names = text_rows(load, stream.text_column, stream.where, self.hint)
        self._names = names if len(names) == len(self) else []

    def __len__(self) -> int:
        return int(self.rows.num_shards)

    def open(self, index: int) -> Any:
        """The rows of one file, in pieces that a place is found by: a .parquet file's groups of rows.

        UserError where its list of them can't be read.
        """
        with reading(self.where(index), self.hint):
            return self.rows.shard(num_shards=len(self), index=index).reshard()

    def texts(self, index: int, rows: Any) -> Iterator[bytes]:
        """Of an opened file. UserError where it can't be read."""
        return texts_of(rows, self.stream.text_column, self.where(index), self.hint)

    def where(self, index: int) -> str:
        """A file, for a sentence."""
        name = f"{index + 1} of {len(self)}"
        if self._names:
            name = f"'{self._names[index].removeprefix(self.stream.path).lstrip('/')}'"
        return f"{self.stream.where}: file {name}"

    def in_turn(self) -> Iterator[bytes]:
        """Every text, from files all over the data set in turn."""
        stride = max(1, len(self) // AT_ONCE)
        order = sorted(range(len(self)), key=lambda i: (i % stride, i))
        waiting = (self.texts(i, self.open(i)) for i in order)
        opened = deque(itertools.islice(waiting, AT_ONCE))
        while opened:
            texts = opened.popleft()
            text = next(texts, None)
            opened.extend([texts] if text is not None else itertools.islice(waiting, 1))
            if text is not None:
                yield text

    def validation(self) -> Iterator[Hashed]:
        """Every text on the validation side, from files all over the data set in turn."""
        for text in self.in_turn():
            digest = hashlib.sha256(text).digest()
            if is_validation(digest, self.stream.val_fraction):
                yield digest, text
