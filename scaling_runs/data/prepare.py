"""From documents to token shards: deduplicated by content, split by hash, kept by fingerprint."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from fit.errors import UserError
from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, corpus_folder, load_corpus
from scaling_runs.data.sources import Source, open_source
from scaling_runs.data.tokens import Tokenizer, open_tokenizer
from scaling_runs.files import write_text

DOCUMENTS_AT_ONCE = 256
FORMAT = 1
"""Raised when the same documents would give other shards."""


@dataclass(frozen=True)
class Document:
    """A document of the scratch file."""

    digest: bytes
    start: int
    tokens: int
    size: int
    """Bytes of text."""
    validation: bool


def find_prepared(config: DataConfig) -> Corpus | None:
    """The corpus, where an earlier `prepare` left it and its files have not changed since; reads no text."""
    return _prepared(config, open_source(config))


def prepare(config: DataConfig) -> Corpus:
    """The corpus that `config` names: found where it was prepared before, else read, tokenised and written.

    UserError where it is missing, empty, unreadable or too small to split. Two processes at once are safe: the
    second waits and finds it done.
    """
    source = open_source(config)
    corpus = _prepared(config, source)
    if corpus is not None:
        return corpus
    cache = Path(config.cache_dir)
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".prepare.lock"):
        corpus = _prepared(config, source)
        if corpus is None:
            corpus = _build(config, source, open_tokenizer(config.tokenizer))
            write_text(_pointer(config, source), json.dumps({"fingerprint": corpus.fingerprint}))
    return corpus


def _prepared(config: DataConfig, source: Source) -> Corpus | None:
    pointer = _pointer(config, source)
    if not pointer.exists():
        return None
    fingerprint = json.loads(pointer.read_text())["fingerprint"]
    if not corpus_folder(config.cache_dir, fingerprint).exists():
        return None
    return load_corpus(fingerprint, config.cache_dir)


def _pointer(config: DataConfig, source: Source) -> Path:
    """A small file that leads from what was asked for, and the state of its files, to the fingerprint."""
    asked = (
        FORMAT,
        config.kind,
        source.state,
        config.tokenizer,
        config.val_fraction,
        config.max_train_tokens,
    )
    key = hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
    return Path(config.cache_dir) / "sources" / f"{key}.json"


def _build(config: DataConfig, source: Source, tokenizer: Tokenizer) -> Corpus:
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=config.cache_dir))
    try:
        documents = _write_scratch(config, source, tokenizer, scratch / "all.bin")
        documents.sort(key=lambda document: document.digest)
        corpus = _describe(config, source, tokenizer, documents)
        for name, validation in (("train.bin", False), ("val.bin", True)):
            chosen = [document for document in documents if document.validation == validation]
            _copy(scratch / "all.bin", scratch / name, chosen, tokenizer.dtype)
        (scratch / "all.bin").unlink()
        write_text(scratch / "meta.json", json.dumps(corpus.meta(), indent=1))
        if not corpus.folder.exists():
            corpus.folder.parent.mkdir(parents=True, exist_ok=True)
            scratch.replace(corpus.folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return load_corpus(corpus.fingerprint, config.cache_dir)


def _write_scratch(config: DataConfig, source: Source, tokenizer: Tokenizer, path: Path) -> list[Document]:
    """Tokens of every new document in order of arrival, until `max_train_tokens` are there."""
    documents: list[Document] = []
    train_tokens = written = 0
    bar = tqdm(desc="reading text", unit="B", unit_scale=True, disable=not sys.stderr.isatty(), leave=False)
    with path.open("wb") as file, bar:
        for some in _batched(_deduplicated(source), DOCUMENTS_AT_ONCE):
            for (digest, text), ids in zip(some, tokenizer.encode([text for _, text in some]), strict=True):
                validation = _is_validation(digest, config.val_fraction)
                documents.append(Document(digest, written, len(ids), len(text), validation))
                ids.astype(tokenizer.dtype).tofile(file)
                written += len(ids)
                train_tokens += 0 if validation else len(ids)
                bar.update(len(text))
            if config.max_train_tokens is not None and train_tokens >= config.max_train_tokens:
                break
    return documents


def _deduplicated(source: Source) -> Iterator[tuple[bytes, bytes]]:
    """(hash, text) of each document that is not empty and was not seen before."""
    seen: set[bytes] = set()
    for text in source.documents():
        digest = hashlib.sha256(text).digest()
        if text and digest not in seen:
            seen.add(digest)
            yield digest, text


def _batched(items: Iterator[tuple[bytes, bytes]], size: int) -> Iterator[list[tuple[bytes, bytes]]]:
    while some := list(islice(items, size)):
        yield some


def _is_validation(digest: bytes, fraction: float) -> bool:
    """By content alone, so a document is on the same side on any machine and in any corpus."""
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def _describe(config: DataConfig, source: Source, tokenizer: Tokenizer, documents: list[Document]) -> Corpus:
    """UserError where a side of the split is empty."""
    train = [document for document in documents if not document.validation]
    val = [document for document in documents if document.validation]
    for side, name in ((train, "training"), (val, "validation")):
        if not side:
            raise UserError(
                f"{source.description}: {len(documents)} documents leave none for {name}; give more documents, or "
                f"change data.val_fraction={config.val_fraction}"
            )
    identity = (FORMAT, tokenizer.identity, tokenizer.separator, config.val_fraction)
    hashed = hashlib.sha256(repr(identity).encode())
    for document in documents:
        hashed.update(document.digest)
    fingerprint = hashed.hexdigest()
    val_tokens = sum(document.tokens for document in val)
    return Corpus(
        folder=corpus_folder(config.cache_dir, fingerprint),
        fingerprint=fingerprint,
        description=source.description,
        vocab_size=tokenizer.vocab_size,
        dtype=tokenizer.dtype,
        train_tokens=sum(document.tokens for document in train),
        val_tokens=val_tokens,
        train_documents=len(train),
        val_documents=len(val),
        bytes_per_token=sum(document.size for document in val) / val_tokens,
    )


def _copy(scratch: Path, target: Path, documents: list[Document], dtype: str) -> None:
    """The documents' tokens in the order given, which is that of their hashes: the same on any machine."""
    everything = np.memmap(scratch, dtype=dtype, mode="r")
    with target.open("wb") as file:
        for document in documents:
            everything[document.start : document.start + document.tokens].tofile(file)
