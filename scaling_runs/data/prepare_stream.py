"""What is prepared of a data set that cells read as they train: its validation set, and where the rest is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fit.errors import UserError
from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, Stream, absolute, corpus_folder
from scaling_runs.data.files import Files
from scaling_runs.data.hub import commit_of
from scaling_runs.data.progress import Progress
from scaling_runs.data.scratch import BYTES_AT_ONCE, DocumentTable, Scratch
from scaling_runs.data.tokens import Tokenizer
from scaling_runs.files import write_text

FORMAT = 1
"""Raised when the same data set would give other batches."""
HASHED_AT_ONCE = 8


def stream_of(config: DataConfig) -> Stream:
    """Where `config`'s data set is, as it stands now. UserError where the hub does not know it."""
    assert config.hf_path is not None
    return Stream(
        path=absolute(config.hf_path),
        name=config.hf_name,
        data_dir=config.hf_data_dir,
        split=config.hf_split,
        revision=commit_of(config.hf_path),
        text_column=config.text_column,
        tokenizer=config.tokenizer,
        tokenizer_identity="",
        val_fraction=config.val_fraction,
        files=0,
    )


def write_stream(
    config: DataConfig, files: Files, tokenizer: Tokenizer, folder: Path, val_tokens: int
) -> Corpus:
    """`val.bin`, of `val_tokens` or of all that there are, and what is known of the data set, into `folder`.

    Texts are on the validation side by their hash, as in any corpus, and are met in turn in files all over the data
    set. UserError where there are none.
    """
    assert config.train_tokens is not None
    stream = dataclasses.replace(files.stream, tokenizer_identity=tokenizer.identity, files=len(files))
    table = _write_validation(files, tokenizer, folder, val_tokens)
    fingerprint = _fingerprint(stream, tokenizer, table)
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


def _write_validation(files: Files, tokenizer: Tokenizer, folder: Path, val_tokens: int) -> DocumentTable:
    """UserError where no document is on that side."""
    scratch = Scratch(folder / "all.bin", tokenizer, files.stream.val_fraction)
    at_once = min(BYTES_AT_ONCE, max(val_tokens, 1))  # of a hundred texts that are read, one is on this side
    with Progress(f"preparing the validation set of {files.stream.where}") as progress:
        scratch.fill(files.validation(), progress, max_val_tokens=val_tokens + 1, bytes_at_once=at_once)
    if not len(scratch):
        raise UserError(
            f"{files.stream.where}: none of its documents is on the validation side; give more, or raise "
            f"data.val_fraction={files.stream.val_fraction}"
        )
    table = scratch.table()
    scratch.write(table, table.validation, folder / "val.bin")
    scratch.path.unlink()
    return table


def _fingerprint(stream: Stream, tokenizer: Tokenizer, table: DocumentTable) -> str:
    local = Path(stream.path)
    identity: tuple[Any, ...] = (
        FORMAT,
        tokenizer.identity,
        tokenizer.separator,
        stream.val_fraction,
        _contents(local) if local.exists() else (stream.path, stream.revision),
        (stream.name, stream.split, stream.text_column, stream.files),
    )
    if stream.data_dir is not None:
        identity += (stream.data_dir,)
    return hashlib.sha256(repr(identity).encode() + table.digests.tobytes()).hexdigest()


def _contents(folder: Path) -> list[tuple[str, str]]:
    """Names and hashes of a local data set's files, wherever it lies: a whole reading, so that no edit goes unseen."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    found = []
    watched = Progress(f"hashing '{folder}'", bytes_total=sum(sizes), noun="files")
    with ThreadPoolExecutor(HASHED_AT_ONCE) as pool, watched as progress:
        for path, size, digest in zip(files, sizes, pool.map(_content_hash, files), strict=True):
            progress.add(size, 0, train_tokens=0)
            found.append((str(path.relative_to(folder)), digest))
    return found


def _content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
