"""Small corpora for tests: numbered tokens where a test must know each, short texts elsewhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from scaling_runs.data import Corpus, DataConfig

SENTENCES = [
    "the quick brown fox jumps over the lazy dog",
    "a model is trained for every budget and size",
    "loss falls as a power of compute, while data lasts",
    "naïve café, 数据, and a snowman ☃",
]
SEPARATOR = 256


def numbered_corpus(folder: Path, train_tokens: int, val_tokens: int = 100) -> Corpus:
    """Token i of each side is i, so that a window's values say where it was cut."""
    folder.mkdir(parents=True, exist_ok=True)
    np.arange(train_tokens, dtype=np.uint32).tofile(folder / "train.bin")
    np.arange(val_tokens, dtype=np.uint32).tofile(folder / "val.bin")
    size = max(train_tokens, val_tokens)
    return Corpus(folder, "0" * 64, "numbers", size, "uint32", train_tokens, val_tokens, 1, 1, 1.0)


def documents(count: int) -> list[str]:
    """Different texts of different lengths."""
    return [f"{i}: {SENTENCES[i % len(SENTENCES)]}\n" * (1 + i % 5) for i in range(count)]


def write_texts(folder: Path, texts: list[str]) -> Path:
    """One .txt a document."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(texts):
        (folder / f"{i:04d}.txt").write_text(text)
    return folder


def write_jsonl(path: Path, texts: list[str], column: str = "text") -> Path:
    path.write_text("".join(json.dumps({column: text, "id": i}) + "\n" for i, text in enumerate(texts)))
    return path


def config_for(cache: Path, *paths: Path, **options: object) -> DataConfig:
    """Local text, a quarter of it for validation."""
    settings: dict[str, object] = {"kind": "text_files", "val_fraction": 0.25, "cache_dir": str(cache)}
    settings["paths"] = [str(path) for path in paths]
    return DataConfig(**(settings | options))  # type: ignore[arg-type]


def documents_of(tokens: np.ndarray) -> list[bytes]:
    """A shard of bytes cut at its separators."""
    assert tokens[-1] == SEPARATOR
    ends = np.flatnonzero(tokens == SEPARATOR)
    starts = [0, *(ends[:-1] + 1)]
    return [tokens[a:b].astype(np.uint8).tobytes() for a, b in zip(starts, ends, strict=True)]


def by_hash(texts: list[str] | list[bytes]) -> list[bytes]:
    """The different texts as bytes, in order of their SHA-256."""
    contents = {text.encode() if isinstance(text, str) else text for text in texts}
    return sorted(contents, key=lambda content: hashlib.sha256(content).digest())
