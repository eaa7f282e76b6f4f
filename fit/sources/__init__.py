"""Where run tables come from: files, a sweep's folder, URLs, W&B, the Hugging Face hub; each gives rows, unnamed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.sources.rows import Rows

WANDB = "wandb:"
HUB = "hf:"
DEFAULT_SPLIT = "train"
FILE = "file://"
URL = re.compile(r"[a-z][a-z0-9+.-]*(::[^/]*)?://", re.IGNORECASE)


@dataclass(frozen=True)
class SourceOptions:
    """Which part of a source is read."""

    wandb_filter: Mapping[str, Any] | None = None
    """In the Mongo style of `wandb.Api().runs(filters=...)`; None for every run of the project."""
    split: str | None = None
    """Of a Hugging Face data set; None for `train`."""
    where: Mapping[str, Sequence[str]] | None = None
    """By column, values of which a row has to hold one; None for all rows."""


def read_source(source: str | Path, options: SourceOptions | None = None) -> Rows:
    """The rows of `source`: a CSV or parquet file or a sweep's folder, here or at a URL that fsspec reads,
    wandb:ENTITY/PROJECT, or hf:OWNER/DATASET[:CONFIG].

    UserError, in one sentence, where there is no such source, it can't be reached or it has no rows; and where an
    option is for a source of another kind, or leaves no row.
    """
    options = options or SourceOptions()
    rows = _all_rows(local_name(source), options)
    return rows.chosen(options.where) if options.where else rows


def _all_rows(text: str, options: SourceOptions) -> Rows:
    if options.wandb_filter is not None and not text.startswith(WANDB):
        raise UserError(
            f"--wandb-filter is for a source {WANDB}ENTITY/PROJECT, and '{text}' is none; leave it out"
        )
    if options.split is not None and not text.startswith(HUB):
        raise UserError(f"--split is for a source {HUB}OWNER/DATASET, and '{text}' is none; leave it out")
    if text.startswith(WANDB):
        from fit.sources.wandb_runs import read_wandb

        return read_wandb(text.removeprefix(WANDB), options.wandb_filter)
    if text.startswith(HUB):
        from fit.sources.hub import read_hub

        return read_hub(text.removeprefix(HUB), options.split or DEFAULT_SPLIT)
    if is_url(text):
        from fit.sources.urls import find, read_table

        return read_table(find(text))
    from fit.sources.files import read_file, table_file

    return read_file(table_file(text))


def local_name(source: str | Path) -> str:
    """`source`, less a file:// before the name of what is here."""
    return str(source).removeprefix(FILE)


def is_url(text: str) -> bool:
    """Whether `text` names a place for fsspec to look at."""
    return URL.match(text) is not None


def local_source(source: str | Path) -> Path | None:
    """The file, or the folder of a local data set, that `source` is read from; None where it is remote.

    UserError where a file is named that does not exist.
    """
    from fit.sources.files import table_file

    text = local_name(source)
    if text.startswith(WANDB) or is_url(text):
        return None
    if text.startswith(HUB):
        path = Path(text.removeprefix(HUB).partition(":")[0])
        return path if path.exists() else None
    return table_file(text)
