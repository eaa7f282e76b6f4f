"""A mixture: no shards of its own, but the corpora that it is made of and their shares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, Part, corpus_folder
from scaling_runs.files import write_text

FORMAT = 1
"""Raised when the same parts would give other batches."""


def write_mixture(config: DataConfig, corpora: Sequence[Corpus], folder: Path) -> Corpus:
    """What is known of a mixture of `corpora`, which are those of `config.parts`, into `folder`."""
    parts = tuple(
        Part(part.name, share, corpus)
        for part, share, corpus in zip(config.parts, config.shares, corpora, strict=True)
    )
    identity = (FORMAT, [(part.name, part.share, part.corpus.fingerprint) for part in parts])
    fingerprint = hashlib.sha256(repr(identity).encode()).hexdigest()
    documents = [corpus.train_documents for corpus in corpora]
    mixed = Corpus(
        folder=corpus_folder(config.cache_dir, fingerprint),
        fingerprint=fingerprint,
        description="; ".join(f"{part.share:.3g} {part.name} ({part.corpus.description})" for part in parts),
        vocab_size=corpora[0].vocab_size,
        dtype=corpora[0].dtype,
        train_tokens=sum(corpus.train_tokens for corpus in corpora),
        val_tokens=sum(corpus.val_tokens for corpus in corpora),
        train_documents=None if None in documents else sum(number or 0 for number in documents),
        val_documents=sum(corpus.val_documents for corpus in corpora),
        bytes_per_token=sum(part.share * part.corpus.bytes_per_token for part in parts),
        parts=parts,
    )
    write_text(folder / "meta.json", json.dumps(mixed.meta(), indent=1))
    return mixed
