"""What was prepared, found by what was asked for: a cache serves wherever it is moved, also without its source."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling_runs.data.config import BPE, HUB, DataConfig
from scaling_runs.data.sources import NotThere, open_source
from scaling_runs.files import read_json, write_json

FORMAT = 1
"""Raised when the same documents would give other shards."""


@dataclass(frozen=True)
class Asked:
    """What a corpus is asked to be."""

    config: DataConfig
    val_tokens: int
    tokenizer_identity: str = ""
    """Of one that was trained on more than this corpus: on a mixture that it is part of."""

    @property
    def file(self) -> Path:
        """The corpora that were prepared of it, last the newest, and in which state its sources were."""
        key = hashlib.sha256(repr(self._key()).encode()).hexdigest()[:16]
        return Path(self.config.cache_dir) / "sources" / f"{key}.json"

    def find(self) -> str | None:
        """The newest fingerprint whose sources are as they were then, or are not here to be compared."""
        now = [_state(source) for source in corpora_of(self.config)]
        for entry in reversed(self._known()):
            pairs = zip(now, entry["states"], strict=True)
            if all(state is None or state == then for state, then in pairs):
                return str(entry["fingerprint"])
        return None

    def remember(self, fingerprint: str) -> None:
        """That it was prepared just now."""
        states = [_state(source) for source in corpora_of(self.config)]
        earlier = [entry for entry in self._known() if entry["states"] != states]
        new = {"states": states, "fingerprint": fingerprint}
        write_json(self.file, [*earlier, new])

    def _known(self) -> list[dict[str, Any]]:
        known: list[dict[str, Any]] = read_json(self.file) if self.file.exists() else []
        return known

    def _key(self) -> tuple[Any, ...]:
        config = self.config
        trained = (BPE, config.vocab_size, self.tokenizer_identity)
        sources = [
            (source.kind, tuple(source.paths), source.hf_path, source.hf_name, source.hf_data_dir)
            + (source.hf_split, source.text_column, source.document_start, source.max_train_tokens)
            + (() if source.on_disk else ("not on disk", self.val_tokens))
            for source in corpora_of(config)
        ]
        mixed = [(part.name, share) for part, share in zip(config.parts, config.shares, strict=True)]
        tokenizer = trained if config.tokenizer == BPE else config.tokenizer
        return FORMAT, tokenizer, config.val_fraction, sources, mixed


def corpora_of(config: DataConfig) -> list[DataConfig]:
    """The parts of a mixture, each as a corpus by itself; of any other, itself."""
    return [config.of_part(number) for number in range(len(config.parts))] or [config]


def not_here(config: DataConfig) -> NotThere | None:
    """Why a source can't be compared with what was prepared of it: local files that are gone."""
    for one in corpora_of(config):
        try:
            _ = None if _of_the_hub(one) else open_source(one)
        except NotThere as gone:
            return gone
    return None


def _state(config: DataConfig) -> str | None:
    """Of a source's files; None where they are gone, or the hub's, which has commits instead."""
    if _of_the_hub(config):
        return None
    try:
        state = open_source(config).state
    except NotThere:
        return None
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]


def _of_the_hub(config: DataConfig) -> bool:
    """Or a local folder that is gone."""
    return config.kind == HUB and config.hf_path is not None and not os.path.exists(config.hf_path)
