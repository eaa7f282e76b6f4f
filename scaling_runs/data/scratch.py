"""Every new document's tokens in order of arrival, and where each is: what a corpus is sorted out of."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from scaling_runs.data.progress import Progress
from scaling_runs.data.tokens import Tokenizer

Hashed = tuple[bytes, bytes]
"""The SHA-256 of a document, and its text."""

BYTES_AT_ONCE = 4 << 20
"""Of text that is tokenised together: enough for the threads of a tokeniser, little against memory."""
DIGEST_BYTES = 32


class Scratch:
    """A file of token ids, and its table: 48 bytes of memory a document, 200 while looking for duplicates."""

    def __init__(self, path: Path, tokenizer: Tokenizer, val_fraction: float) -> None:
        self.path, self.tokenizer, self.val_fraction = path, tokenizer, val_fraction
        self._digests = bytearray()
        self._tokens = array("q")
        self._sizes = array("q")

    def __len__(self) -> int:
        return len(self._tokens)

    def fill(
        self,
        documents: Iterable[Hashed],
        progress: Progress,
        *,
        max_train_tokens: int | None = None,
        max_val_tokens: int | None = None,
        bytes_at_once: int = BYTES_AT_ONCE,
    ) -> None:
        """Append documents until they end, or until so many tokens are on the training or the validation side."""
        wanted = {False: max_train_tokens, True: max_val_tokens}
        tokens = {False: 0, True: 0}
        with self.path.open("wb") as file:
            for some in _grouped(_deduplicated(documents), bytes_at_once):
                encoded = self.tokenizer.encode([text for _, text in some])
                for (digest, text), ids in zip(some, encoded, strict=True):
                    ids.astype(self.tokenizer.dtype).tofile(file)
                    self._digests += digest
                    self._tokens.append(len(ids))
                    self._sizes.append(len(text))
                    side = is_validation(digest, self.val_fraction)
                    tokens[side] += len(ids)
                    progress.add(len(text), len(ids), train_tokens=0 if side else len(ids))
                    enough = wanted[side]
                    if enough is not None and tokens[side] >= enough:
                        return

    def table(self) -> DocumentTable:
        return DocumentTable(self._digests, self._tokens, self._sizes, self.val_fraction)

    def write(self, table: DocumentTable, chosen: np.ndarray, path: Path) -> None:
        """The `chosen` documents (a mask over the table) one after another, in the table's order."""
        everything = np.memmap(self.path, dtype=self.tokenizer.dtype, mode="r")
        with path.open("wb") as file:
            for start, tokens in zip(
                table.starts[chosen].tolist(), table.tokens[chosen].tolist(), strict=True
            ):
                everything[start : start + tokens].tofile(file)


class DocumentTable:
    """The documents in order of their hashes, the same on any machine. All arrays are (documents,)."""

    def __init__(
        self, digests: bytearray, tokens: array[int], sizes: array[int], val_fraction: float
    ) -> None:
        by_arrival = np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        keys = np.ascontiguousarray(by_arrival[:, :8]).view(">u8").ravel().astype(np.uint64)
        order = np.argsort(keys, kind="stable")
        self.digests = by_arrival[order]
        """(documents, 32) bytes."""
        lengths = np.frombuffer(tokens, dtype=np.int64)
        self.starts = (np.cumsum(lengths) - lengths)[order]
        """Of each document in the scratch file, in tokens."""
        self.tokens = lengths[order]
        self.sizes = np.frombuffer(sizes, dtype=np.int64)[order]
        """Bytes of text."""
        self.validation = keys[order] < np.uint64(_threshold(val_fraction))


def is_validation(digest: bytes, fraction: float) -> bool:
    """By content alone, so a document is on the same side on any machine and in any corpus."""
    return int.from_bytes(digest[:8], "big") < _threshold(fraction)


def _threshold(fraction: float) -> int:
    return int(fraction * 2**64)


def hashed(texts: Iterable[bytes]) -> Iterator[Hashed]:
    for text in texts:
        yield hashlib.sha256(text).digest(), text


def _deduplicated(documents: Iterable[Hashed]) -> Iterator[Hashed]:
    """Each document that is not empty and was not seen before.

    Eight bytes of the hash are remembered: that one document is taken for another has a chance of 3 in a
    million among ten million of them.
    """
    seen: set[bytes] = set()
    for digest, text in documents:
        if text and digest[:8] not in seen:
            seen.add(digest[:8])
            yield digest, text


def _grouped(documents: Iterator[Hashed], bytes_at_once: int) -> Iterator[list[Hashed]]:
    some: list[Hashed] = []
    size = 0
    for document in documents:
        some.append(document)
        size += len(document[1])
        if size >= bytes_at_once:
            yield some
            some, size = [], 0
    if some:
        yield some
