"""A prepared corpus on disk: token shards that are mapped into memory, and what is known of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fit.errors import UserError


@dataclass(frozen=True)
class Corpus:
    """`train.bin` and `val.bin` in `folder`: long rows of token ids, each document closed by a separator."""

    folder: Path
    fingerprint: str
    """Hash of tokeniser, split rule and documents: the same text gives the same fingerprint anywhere."""
    description: str
    vocab_size: int
    dtype: str
    train_tokens: int
    val_tokens: int
    train_documents: int
    val_documents: int
    bytes_per_token: float
    """Of the validation split, separators counted as tokens: turns nats a token into bits a byte."""

    def train(self) -> np.ndarray:
        """(train_tokens,) token ids, mapped read-only: processes share the pages."""
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
    corpus = Corpus(folder=folder, **meta)
    for name, tokens in (("train.bin", corpus.train_tokens), ("val.bin", corpus.val_tokens)):
        path = folder / name
        expected = tokens * np.dtype(corpus.dtype).itemsize
        found = path.stat().st_size if path.exists() else 0
        if found != expected:
            raise UserError(
                f"'{path}' holds {found} bytes where {expected} are expected; remove '{folder}' and it is "
                f"made anew"
            )
    return corpus
