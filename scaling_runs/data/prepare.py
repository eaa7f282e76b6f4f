"""From what is asked for to a prepared corpus: found where it was prepared before, else built, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from fit.errors import UserError
from scaling_runs.data import bpe
from scaling_runs.data.config import BPE, DataConfig
from scaling_runs.data.corpus import TOKENIZER, Corpus, as_asked, corpus_folder, load_corpus
from scaling_runs.data.files import Files
from scaling_runs.data.index import Asked, corpora_of
from scaling_runs.data.prepare_disk import write_disk
from scaling_runs.data.prepare_mixture import write_mixture
from scaling_runs.data.prepare_stream import stream_of, write_stream
from scaling_runs.data.progress import Progress
from scaling_runs.data.shares import require_slots
from scaling_runs.data.sources import open_source
from scaling_runs.data.tokens import Tokenizer, open_tokenizer

BUILDING = ".building-"


def find_prepared(config: DataConfig, val_tokens: int = 0) -> Corpus | None:
    """The corpus, where an earlier `prepare` left it and its files have not changed since; reads no text.

    Where its files are gone, or are the hub's, what was prepared of them is taken.
    """
    return _find(Asked(config, val_tokens))


def prepare(config: DataConfig, val_tokens: int = 0) -> Corpus:
    """The corpus that `config` names: found where it was prepared before, else read, tokenised and written.

    `val_tokens`: what is read for validation of a data set that is not put on disk; else all on that side. UserError
    where it is missing, empty, unreadable or too small to split. Two processes at once are safe: the second waits and
    finds it done.
    """
    corpus = find_prepared(config, val_tokens)
    if corpus is not None:
        return corpus
    require_slots([part.name for part in config.parts], config.shares)
    cache = _writable_folder(config.cache_dir)
    with FileLock(cache / ".prepare.lock"):
        for abandoned in cache.glob(f"{BUILDING}*"):  # of a process that was killed, for we have the lock
            shutil.rmtree(abandoned)
        return as_asked(_prepared(config, val_tokens), config)


def _find(asked: Asked) -> Corpus | None:
    fingerprint = asked.find()
    if fingerprint is None or not corpus_folder(asked.config.cache_dir, fingerprint).exists():
        return None
    return as_asked(load_corpus(fingerprint, asked.config.cache_dir), asked.config)


def _writable_folder(path: str) -> Path:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"data.cache_dir '{path}' can't be made: {error.strerror}; choose another") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"data.cache_dir '{path}' can't be written to; choose another")
    return Path(path)


def _prepared(config: DataConfig, val_tokens: int, trained: Tokenizer | None = None) -> Corpus:
    """Called under the lock. `trained`: on the mixture that this is part of."""
    asked = Asked(config, val_tokens, "" if trained is None else trained.identity)
    corpus = _find(asked)
    if corpus is None:
        corpus = _build(config, val_tokens, trained)
        asked.remember(corpus.fingerprint)
    return corpus


def _prepared_part(name: str, config: DataConfig, val_tokens: int, trained: Tokenizer | None) -> Corpus:
    try:
        return _prepared(config, val_tokens, trained)
    except UserError as error:
        raise UserError(f"part '{name}': {error}") from error


def _build(config: DataConfig, val_tokens: int, trained: Tokenizer | None) -> Corpus:
    if config.tokenizer == BPE and trained is None:
        trained = _train_tokenizer(config)
    parts = [
        _prepared_part(part.name, config.of_part(number), val_tokens, trained)
        for number, part in enumerate(config.parts)
    ]
    with _folder_to_build_in(config) as folder:
        if parts:
            corpus = write_mixture(config, parts, folder)
        elif config.on_disk:
            # a source that can't be had is told before its tokeniser is looked for
            source = open_source(config)
            texts = source.documents()
            corpus = write_disk(config, source, texts, trained or open_tokenizer(config.tokenizer), folder)
        else:
            files = Files(stream_of(config))
            corpus = write_stream(
                config, files, trained or open_tokenizer(config.tokenizer), folder, val_tokens
            )
        if trained is not None and trained.save is not None:
            trained.save(folder / TOKENIZER)
        if not corpus.folder.exists():
            corpus.folder.parent.mkdir(parents=True, exist_ok=True)
            folder.replace(corpus.folder)
    return load_corpus(corpus.fingerprint, config.cache_dir)


@contextmanager
def _folder_to_build_in(config: DataConfig) -> Iterator[Path]:
    folder = Path(config.cache_dir) / f"{BUILDING}{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _train_tokenizer(config: DataConfig) -> Tokenizer:
    """On training documents of each source, in shares as they are trained on."""
    texts: list[bytes] = []
    where = []
    for one, share in zip(corpora_of(config), config.shares or [1.0], strict=True):
        if one.on_disk:
            source = open_source(one)
            where.append(source.description)
            there, size = source.documents(), source.size_bytes
        else:
            files = Files(stream_of(one))
            where.append(files.stream.where)
            there, size = files.in_turn(), None
        size = min(bpe.READ_BYTES, size or bpe.READ_BYTES)
        with Progress("reading text to train a tokeniser on", bytes_total=size) as progress:
            texts += bpe.sample(progress.watching(there), config.val_fraction, int(bpe.SAMPLE_BYTES * share))
    return bpe.train_bpe(texts, config.vocab_size or 0, "; ".join(where))
