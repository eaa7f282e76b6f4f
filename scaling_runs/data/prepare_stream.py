"""What is prepared of a data set that cells read as they train: its validation set, and where the rest is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from fit.errors import UserError
from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, Stream, corpus_folder
from scaling_runs.data.hub import commit_of
from scaling_runs.data.scratch import BYTES_AT_ONCE, Scratch
from scaling_runs.data.stream import Files, validation_texts
from scaling_runs.data.tokens import open_tokenizer
from scaling_runs.files import write_text

FORMAT = 1
"""Raised when the same data set would give other batches."""


def write_stream(config: DataConfig, folder: Path, val_tokens: int) -> Corpus:
    """`val.bin`, of `val_tokens` or of all that there are, and what is known of the data set, into `folder`.

    Texts are on the validation side by their hash, as in any corpus, and are met in turn in files all over the data
    set. UserError where it can't be had or has none.
    """
    assert config.hf_path is not None
    assert config.train_tokens is not None
    local, commit = Path(config.hf_path), commit_of(config.hf_path)
    stream = Stream(
        path=_path(config.hf_path),
        name=config.hf_name,
        split=config.hf_split,
        revision=commit,
        text_column=config.text_column,
        tokenizer=config.tokenizer,
        tokenizer_identity="",
        val_fraction=config.val_fraction,
        files=0,
    )
    files = Files(stream)  # a data set that can't be had is told before its tokeniser is looked for
    tokenizer = open_tokenizer(config.tokenizer)
    stream = dataclasses.replace(stream, tokenizer_identity=tokenizer.identity, files=len(files))
    scratch = Scratch(folder / "all.bin", tokenizer, config.val_fraction)
    at_once = min(BYTES_AT_ONCE, max(val_tokens, 1))  # of a hundred texts that are read, one is on this side
    scratch.fill(validation_texts(files), max_val_tokens=val_tokens + 1, bytes_at_once=at_once)
    if not len(scratch):
        raise UserError(
            f"{stream.where}: none of its documents is on the validation side; give more, or raise "
            f"data.val_fraction={config.val_fraction}"
        )
    table = scratch.table()
    scratch.write(table, table.validation, folder / "val.bin")
    scratch.path.unlink()
    identity = (
        FORMAT,
        tokenizer.identity,
        tokenizer.separator,
        config.val_fraction,
        _contents(local) if local.exists() else (config.hf_path, commit),
        (stream.name, stream.split, stream.text_column, stream.files),
    )
    fingerprint = hashlib.sha256(repr(identity).encode() + table.digests.tobytes()).hexdigest()
    tokens = int(table.tokens.sum())
    corpus = Corpus(
        folder=corpus_folder(config.cache_dir, fingerprint),
        fingerprint=fingerprint,
        description=stream.description,
        vocab_size=tokenizer.vocab_size,
        dtype=tokenizer.dtype,
        train_tokens=config.train_tokens,
        val_tokens=tokens,
        train_documents=None,
        val_documents=len(table.tokens),
        bytes_per_token=int(table.sizes.sum()) / tokens,
        stream=stream,
    )
    write_text(folder / "meta.json", json.dumps(corpus.meta(), indent=1))
    return corpus


def as_asked(corpus: Corpus, config: DataConfig) -> Corpus:
    """What was prepared, with what `config` says that is not in its fingerprint, and may have been otherwise then."""
    assert corpus.stream is not None
    assert config.hf_path is not None
    assert config.train_tokens is not None
    stream = dataclasses.replace(corpus.stream, path=_path(config.hf_path), tokenizer=config.tokenizer)
    return dataclasses.replace(
        corpus, train_tokens=config.train_tokens, stream=stream, description=stream.description
    )


def _path(data_set: str) -> str:
    """Of a folder, wherever a cell is started."""
    return str(Path(data_set).absolute()) if Path(data_set).exists() else data_set


def _contents(folder: Path) -> list[tuple[str, int]]:
    """Names and sizes of a local data set's files, wherever it lies."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path.stat().st_size) for path in files]
