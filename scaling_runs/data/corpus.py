"""A prepared corpus: token shards that are mapped into memory, or where to read them, and what is known of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fit.errors import UserError


@dataclass(frozen=True)
class Stream:
    """A data set that cells read as they train, and all that decides which tokens they find."""

    path: str
    """Of the hub, or an absolute folder."""
    name: str | None
    split: str
    revision: str | None
    """The hub's commit."""
    text_column: str
    tokenizer: str
    tokenizer_identity: str
    val_fraction: float
    files: int

    @property
    def where(self) -> str:
        """For a sentence."""
        name = self.path + (f" ({self.name})" if self.name else "")
        return f"data set '{name}' (split {self.split})"

    @property
    def description(self) -> str:
        """Of a corpus that is read so."""
        return f"{self.where}, read as it is trained on"


@dataclass(frozen=True)
class Corpus:
    """`train.bin` and `val.bin` in `folder`: long rows of token ids, each document closed by a separator.

    Of a `stream` there is no `train.bin`.
    """

    folder: Path
    fingerprint: str
    """Hash of tokeniser, split rule and documents: the same text gives the same fingerprint anywhere."""
    description: str
    vocab_size: int
    dtype: str
    train_tokens: int
    """Of a stream, as declared."""
    val_tokens: int
    train_documents: int | None
    """None of a stream."""
    val_documents: int
    bytes_per_token: float
    """Of the validation split, separators counted as tokens: turns nats a token into bits a byte."""
    stream: Stream | None = None

    def train(self) -> np.ndarray:
        """(train_tokens,) token ids, mapped read-only: processes share the pages."""
        assert self.stream is None, "a stream's batches come from StreamedBatches"
        return np.memmap(self.folder / "train.bin", dtype=self.dtype, mode="r")

    def val(self) -> np.ndarray:
        """(val_tokens,) token ids, mapped read-only."""
        return np.memmap(self.folder / "val.bin", dtype=self.dtype, mode="r")

    def meta(self) -> dict[str, Any]:
        """All fields but the folder, as JSON takes them."""
        fields = asdict(self)
        del fields["folder"]
        return fields


def corpus_folder(cache_dir: str | Path, fingerprint: str) -> Path:
    return Path(cache_dir) / "corpora" / fingerprint[:16]


def load_corpus(fingerprint: str, cache_dir: str | Path) -> Corpus:
    """The prepared corpus of this fingerprint. UserError where it is not there or its files are not whole."""
    folder = corpus_folder(cache_dir, fingerprint)
    try:
        meta = json.loads((folder / "meta.json").read_text())
    except FileNotFoundError:
        raise UserError(
            f"corpus {fingerprint[:16]} is not in '{cache_dir}'; start the sweep once where its data is, or "
            f"set data.cache_dir to where it was prepared"
        ) from None
    except ValueError as error:
        raise UserError(
            f"'{folder / 'meta.json'}' is damaged: {error}; remove '{folder}' and it is made anew"
        ) from error
    if meta.get("stream"):
        meta["stream"] = Stream(**meta["stream"])
    corpus = Corpus(folder=folder, **meta)
    on_disk = {"val.bin": corpus.val_tokens} | ({} if corpus.stream else {"train.bin": corpus.train_tokens})
    for name, tokens in on_disk.items():
        path = folder / name
        expected = tokens * np.dtype(corpus.dtype).itemsize
        found = path.stat().st_size if path.exists() else 0
        if found != expected:
            raise UserError(
                f"'{path}' holds {found} bytes where {expected} are expected; remove '{folder}' and it is "
                f"made anew"
            )
    return corpus
