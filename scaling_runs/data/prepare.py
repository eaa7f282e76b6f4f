"""From documents to token shards: deduplicated by content, split by hash, kept by fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from fit.errors import UserError
from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, corpus_folder, load_corpus
from scaling_runs.data.prepare_stream import as_asked, write_stream
from scaling_runs.data.scratch import DocumentTable, Scratch
from scaling_runs.data.sources import Source, open_source
from scaling_runs.data.tokens import Tokenizer, open_tokenizer
from scaling_runs.files import write_text

FORMAT = 1
"""Raised when the same documents would give other shards."""
BUILDING = ".building-"


def find_prepared(config: DataConfig, val_tokens: int = 0) -> Corpus | None:
    """The corpus, where an earlier `prepare` left it and its files have not changed since; reads no text."""
    return _prepared(config, _pointer(config, open_source(config), val_tokens))


def prepare(config: DataConfig, val_tokens: int = 0) -> Corpus:
    """The corpus that `config` names: found where it was prepared before, else read, tokenised and written.

    `val_tokens`: what is read for validation of a data set that is not put on disk; else all on that side. UserError
    where it is missing, empty, unreadable or too small to split. Two processes at once are safe: the second waits and
    finds it done.
    """
    source = open_source(config)
    pointer = _pointer(config, source, val_tokens)
    corpus = _prepared(config, pointer)
    if corpus is not None and _is_kept(corpus, config):
        return corpus
    cache = _writable_folder(config.cache_dir)
    with FileLock(cache / ".prepare.lock"):
        corpus = _prepared(config, pointer)
        if corpus is not None:  # of a stream, last asked for with another path or size
            write_text(corpus.folder / "meta.json", json.dumps(corpus.meta(), indent=1))
        else:
            corpus = _build(config, source, val_tokens)
            write_text(pointer, json.dumps({"fingerprint": corpus.fingerprint}))
    return corpus


def _writable_folder(path: str) -> Path:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"data.cache_dir '{path}' can't be made: {error.strerror}; choose another") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"data.cache_dir '{path}' can't be written to; choose another")
    return Path(path)


def _prepared(config: DataConfig, pointer: Path) -> Corpus | None:
    if not pointer.exists():
        return None
    fingerprint = json.loads(pointer.read_text())["fingerprint"]
    if not corpus_folder(config.cache_dir, fingerprint).exists():
        return None
    corpus = load_corpus(fingerprint, config.cache_dir)
    return corpus if corpus.stream is None else as_asked(corpus, config)


def _is_kept(corpus: Corpus, config: DataConfig) -> bool:
    """Whether a cell, which knows its fingerprint alone, would find this very corpus."""
    return load_corpus(corpus.fingerprint, config.cache_dir) == corpus


def _pointer(config: DataConfig, source: Source, val_tokens: int) -> Path:
    """A small file that leads from what was asked for, and the state of its files, to the fingerprint."""
    asked: tuple[Any, ...] = (
        FORMAT,
        config.kind,
        source.state,
        config.tokenizer,
        config.val_fraction,
        config.max_train_tokens,
    )
    if not config.on_disk:
        asked += ("not on disk", val_tokens)
    key = hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
    return Path(config.cache_dir) / "sources" / f"{key}.json"


def _build(config: DataConfig, source: Source, val_tokens: int) -> Corpus:
    """Called under the lock: whatever is half-built is of a process that was killed."""
    for abandoned in Path(config.cache_dir).glob(f"{BUILDING}*"):
        shutil.rmtree(abandoned)
    folder = Path(config.cache_dir) / f"{BUILDING}{os.getpid()}"
    folder.mkdir()
    try:
        corpus = (
            _write(config, source, folder) if config.on_disk else write_stream(config, folder, val_tokens)
        )
        if not corpus.folder.exists():
            corpus.folder.parent.mkdir(parents=True, exist_ok=True)
            folder.replace(corpus.folder)
        elif corpus.stream is not None:  # which may lie elsewhere now
            (folder / "meta.json").replace(corpus.folder / "meta.json")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return load_corpus(corpus.fingerprint, config.cache_dir)


def _write(config: DataConfig, source: Source, folder: Path) -> Corpus:
    """Both shards and what is known of them, into `folder`."""
    texts = source.documents()
    tokenizer = open_tokenizer(config.tokenizer)
    scratch = Scratch(folder / "all.bin", tokenizer, config.val_fraction)
    scratch.fill(texts, max_train_tokens=config.max_train_tokens)
    if not len(scratch):
        raise UserError(f"{source.description}: there is no text; choose other data")
    table = scratch.table()
    corpus = _describe(config, source, tokenizer, table)
    scratch.write(table, ~table.validation, folder / "train.bin")
    scratch.write(table, table.validation, folder / "val.bin")
    scratch.path.unlink()
    write_text(folder / "meta.json", json.dumps(corpus.meta(), indent=1))
    return corpus


def _describe(config: DataConfig, source: Source, tokenizer: Tokenizer, table: DocumentTable) -> Corpus:
    """UserError where a side of the split is empty."""
    val_documents = int(table.validation.sum())
    train_documents = len(table.tokens) - val_documents
    if len(table.tokens) == 1:
        raise UserError(
            f"{source.description}: all of the text is one document (a .txt is one, or a row), which can't be both "
            f"trained on and validated with; split the file, or give more"
        )
    for count, side in ((train_documents, "training"), (val_documents, "validation")):
        if not count:
            raise UserError(
                f"{source.description}: {len(table.tokens)} different documents (a .txt is one, or a row) "
                f"leave none for {side}; give more, or change data.val_fraction={config.val_fraction}"
            )
    identity = (FORMAT, tokenizer.identity, tokenizer.separator, config.val_fraction)
    fingerprint = hashlib.sha256(repr(identity).encode() + table.digests.tobytes()).hexdigest()
    val_tokens = int(table.tokens[table.validation].sum())
    return Corpus(
        folder=corpus_folder(config.cache_dir, fingerprint),
        fingerprint=fingerprint,
        description=source.description,
        vocab_size=tokenizer.vocab_size,
        dtype=tokenizer.dtype,
        train_tokens=int(table.tokens.sum()) - val_tokens,
        val_tokens=val_tokens,
        train_documents=train_documents,
        val_documents=val_documents,
        bytes_per_token=int(table.sizes[table.validation].sum()) / val_tokens,
    )
