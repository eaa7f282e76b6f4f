"""From documents to token shards: deduplicated by content, split by hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from fit.errors import UserError
from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, corpus_folder
from scaling_runs.data.index import FORMAT
from scaling_runs.data.progress import Progress
from scaling_runs.data.scratch import DocumentTable, Scratch, hashed
from scaling_runs.data.sources import Source
from scaling_runs.data.tokens import Tokenizer
from scaling_runs.files import write_text


def write_disk(
    config: DataConfig, source: Source, texts: Iterable[bytes], tokenizer: Tokenizer, folder: Path
) -> Corpus:
    """Both shards of `texts`, which are the `source`'s, and what is known of them, into `folder`.

    UserError where there is no text, or a side of the split is empty.
    """
    scratch = Scratch(folder / "all.bin", tokenizer, config.val_fraction)
    what, wanted = f"preparing {source.description}", config.max_train_tokens
    with Progress(what, bytes_total=source.size_bytes, tokens_total=wanted) as progress:
        scratch.fill(hashed(texts), progress, max_train_tokens=config.max_train_tokens)
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
