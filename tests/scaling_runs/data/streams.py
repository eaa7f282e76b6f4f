"""Data sets on disk for tests that stream them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scaling_runs.data import Corpus, DataConfig
from scaling_runs.data.prepare import prepare
from tests.scaling_runs.data.corpora import SEPARATOR

ROWS_A_GROUP = 5
VAL_FRACTION = 0.25


def write_data_set(folder: Path, files: Sequence[Sequence[str]], ending: str = "parquet") -> Path:
    """One file for each of `files`, as the hub serves them."""
    folder.mkdir(parents=True)
    for number, texts in enumerate(files):
        path = folder / f"train-{number:05d}.{ending}"
        if ending == "parquet":
            table = pa.table({"id": list(range(len(texts))), "text": list(texts)})
            pq.write_table(table, path, row_group_size=ROWS_A_GROUP)
        else:
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


def stream_config(folder: Path, cache: Path, **options: object) -> DataConfig:
    settings: dict[str, object] = {
        "hf_path": str(folder),
        "on_disk": False,
        "train_tokens": 10_000,
        "val_fraction": VAL_FRACTION,
        "cache_dir": str(cache),
    }
    return DataConfig(kind="hf", **(settings | options))  # type: ignore[arg-type]


def streamed(folder: Path, cache: Path, val_tokens: int = 200) -> Corpus:
    """Prepared."""
    return prepare(stream_config(folder, cache), val_tokens)


def on_validation_side(text: str) -> bool:
    """The rule as the README states it: by the hash's first eight bytes."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64 < VAL_FRACTION


def training_tokens(texts: Sequence[str]) -> list[int]:
    """What a lane should find in a file: the bytes of each training document, and a separator."""
    return [token for text in texts if not on_validation_side(text) for token in [*text.encode(), SEPARATOR]]
