"""A prepared corpus: token shards that are mapped into memory, or where to read them, and what is known of them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fit.errors import UserError
from scaling_runs.data.config import DataConfig, SourceConfig

TOKENIZER = "tokenizer"
"""The folder, in a corpus's own, of a tokeniser that was trained on it."""


@dataclass(frozen=True)
class Stream:
    """A data set that cells read as they train, and all that decides which tokens they find."""

    path: str
    """Of the hub, or an absolute folder."""
    name: str | None
    data_dir: str | None
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
        return f"{data_set_name(self.path, self.name, self.data_dir)} (split {self.split})"

    @property
    def description(self) -> str:
        """Of a corpus that is read so."""
        return f"{self.where}, read as it is trained on"


@dataclass(frozen=True)
class Part:
    """A corpus of a mixture."""

    name: str
    share: float
    """Of the tokens that are trained on; those of all parts sum to 1."""
    corpus: Corpus


@dataclass(frozen=True)
class Corpus:
    """`train.bin` and `val.bin` in `folder`: long rows of token ids, each document closed by a separator.

    Of a `stream` there is no `train.bin`; of a mixture neither, for its `parts` are corpora of their own.
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
    parts: tuple[Part, ...] = ()

    def train(self) -> np.ndarray:
        """(train_tokens,) token ids, mapped read-only: processes share the pages."""
        assert self.stream is None, "a stream's batches come from StreamedBatches"
        assert not self.parts, "a mixture's batches come from MixedBatches"
        return np.memmap(self.folder / "train.bin", dtype=self.dtype, mode="r")

    def val(self) -> np.ndarray:
        """(val_tokens,) token ids, mapped read-only."""
        assert not self.parts, "a mixture's validation set is its parts'"
        return np.memmap(self.folder / "val.bin", dtype=self.dtype, mode="r")

    def unique_tokens(self, tokens: int) -> int:
        """Of `tokens` that are trained on, those that are no repeats."""
        if not self.parts:
            return min(tokens, self.train_tokens)
        return sum(part.corpus.unique_tokens(round(part.share * tokens)) for part in self.parts)

    def meta(self) -> dict[str, Any]:
        """All fields but the folder, as JSON takes them; of parts, where to find them."""
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        del fields["folder"]
        fields["stream"] = None if self.stream is None else dataclasses.asdict(self.stream)
        fields["parts"] = [
            {"name": part.name, "share": part.share, "fingerprint": part.corpus.fingerprint}
            for part in self.parts
        ]
        return fields


def data_set_name(path: str, name: str | None, data_dir: str | None) -> str:
    """A data set of `datasets`, for a sentence."""
    within = ", ".join(item for item in (name, data_dir) if item)
    return f"data set '{path}" + (f" ({within})" if within else "") + "'"


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
        meta["stream"] = Stream(**({"data_dir": None} | meta["stream"]))
    meta["parts"] = tuple(
        Part(part["name"], part["share"], load_corpus(part["fingerprint"], cache_dir))
        for part in meta.get("parts", ())
    )
    corpus = Corpus(folder=folder, **meta)
    on_disk = {"val.bin": corpus.val_tokens} | ({} if corpus.stream else {"train.bin": corpus.train_tokens})
    for name, tokens in on_disk.items() if not corpus.parts else ():
        path = folder / name
        expected = tokens * np.dtype(corpus.dtype).itemsize
        found = path.stat().st_size if path.exists() else 0
        if found != expected:
            raise UserError(
                f"'{path}' holds {found} bytes where {expected} are expected; remove '{folder}' and it is "
                f"made anew"
            )
    return corpus


def as_asked(corpus: Corpus, config: DataConfig) -> Corpus:
    """What was prepared, with what `config` says of it that is not in its fingerprint, and may differ by command.

    That is where a stream lies, how it and its tokeniser are called, and the size it is declared to have. A cell that
    is started by its id alone has no such word, and goes by what was said when its corpus was prepared.
    """
    if corpus.parts and len(corpus.parts) == len(config.parts):
        parts = tuple(
            dataclasses.replace(part, corpus=_stream_as_asked(part.corpus, source, config.tokenizer))
            for part, source in zip(corpus.parts, config.parts, strict=True)
        )
        tokens = sum(part.corpus.train_tokens for part in parts)
        return dataclasses.replace(corpus, parts=parts, train_tokens=tokens)
    return _stream_as_asked(corpus, config, config.tokenizer)


def _stream_as_asked(corpus: Corpus, source: SourceConfig, tokenizer: str) -> Corpus:
    if corpus.stream is None or source.hf_path is None or source.on_disk:
        return corpus
    assert source.train_tokens is not None
    stream = dataclasses.replace(corpus.stream, path=absolute(source.hf_path), tokenizer=tokenizer)
    return dataclasses.replace(
        corpus, train_tokens=source.train_tokens, stream=stream, description=stream.description
    )


def absolute(data_set: str) -> str:
    """A local folder's path, the same wherever a cell is started; the name of a data set of the hub."""
    return str(Path(data_set).absolute()) if Path(data_set).exists() else data_set
