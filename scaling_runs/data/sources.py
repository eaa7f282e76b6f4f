"""Where documents come from: each source yields the documents of a corpus, one after another."""

from __future__ import annotations

import glob
import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fit.errors import UserError
from scaling_runs.data.config import DataConfig

READERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
"""File endings, and the builder of `datasets` that reads them."""


@dataclass(frozen=True)
class Source:
    """Documents, and a key that changes when they may have."""

    description: str
    state: tuple[Any, ...]
    """Paths, sizes and times of the files, or the name of the data set: compared before anything is read again."""
    documents: Callable[[], Iterator[bytes]]


def open_source(config: DataConfig) -> Source:
    """The source that `config` names. UserError where what it names is not there."""
    if config.kind == "python_source":
        return python_source(python_roots())
    if config.kind == "text_files":
        return text_files(config.paths, config.text_column)
    return hugging_face(config)


def python_roots() -> list[Path]:
    """The standard library and the installed packages."""
    paths = sysconfig.get_paths()
    return [Path(root) for root in dict.fromkeys(paths[name] for name in ("stdlib", "purelib", "platlib"))]


def python_source(roots: list[Path]) -> Source:
    """Every Python file below `roots`: real text, and there on any machine that runs this."""
    files = sorted({path for root in roots for path in _python_files(root, roots)})
    if not files:
        raise UserError(f"no Python files below {', '.join(map(str, roots))}; choose data=text_files instead")
    return Source(
        "Python sources of the standard library and the installed packages",
        tuple(_state(path) for path in files),
        lambda: (Path(path).read_bytes() for path in files),
    )


def _python_files(root: Path, roots: list[Path]) -> Iterator[str]:
    """Files below `root`, less the packages that happen to be installed below it without being asked for."""
    wanted = {str(path) for path in roots}
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [
            name
            for name in subfolders
            if name != "__pycache__" and (name != "site-packages" or os.path.join(folder, name) in wanted)
        ]
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def text_files(patterns: list[str], text_column: str) -> Source:
    """Local files: a .txt is one document, a .jsonl or .parquet one a row."""
    files = _matching(patterns)
    by_reader: dict[str, list[str]] = {}
    for path in files:
        by_reader.setdefault(READERS[Path(path).suffix], []).append(path)

    def documents() -> Iterator[bytes]:
        from datasets import load_dataset

        for reader, paths in sorted(by_reader.items()):
            options = {"sample_by": "document"} if reader == "text" else {}
            rows = load_dataset(reader, data_files=paths, split="train", streaming=True, **options)
            yield from _texts(
                rows, "text" if reader == "text" else text_column, f"files {', '.join(paths[:3])}"
            )

    return Source(f"{len(files)} local files", (text_column, *map(_state, files)), documents)


def _matching(patterns: list[str]) -> list[str]:
    if not patterns:
        raise UserError(
            "data.paths is empty; name files, folders or globs, such as data.paths=[notes.txt,corpus/]"
        )
    files: set[str] = set()
    for pattern in patterns:
        whole = os.path.join(pattern, "**", "*") if os.path.isdir(pattern) else pattern
        found = [path for path in glob.glob(whole, recursive=True) if os.path.isfile(path)]
        readable = {os.path.abspath(path) for path in found if Path(path).suffix in READERS}
        if not readable:
            what = "matches no file" if not found else f"holds no file ending in {', '.join(READERS)}"
            raise UserError(f"data.paths names '{pattern}', which {what}")
        files |= readable
    return sorted(files)


def _state(path: str) -> tuple[str, int, int]:
    status = os.stat(path)
    return path, status.st_size, status.st_mtime_ns


def hugging_face(config: DataConfig) -> Source:
    """A data set of the hub, or a local folder that `datasets` can load."""
    if not config.hf_path:
        raise UserError(
            "data.hf_path is not set; name a data set, such as data.hf_path=HuggingFaceFW/fineweb-edu"
        )
    name = config.hf_path + (f" ({config.hf_name})" if config.hf_name else "")

    def documents() -> Iterator[bytes]:
        from datasets import load_dataset

        try:
            rows = load_dataset(
                config.hf_path, config.hf_name, split=config.hf_split, streaming=config.streaming
            )
        except Exception as error:  # the hub's client has no one error for "not to be had"
            raise UserError(
                f"data set '{name}' (split {config.hf_split}) can't be loaded: {_first_line(error)}; check the name and "
                f"the network, or choose data=text_files"
            ) from error
        yield from _texts(rows, config.text_column, f"data set '{name}'")

    return Source(
        f"data set {name}", (config.hf_path, config.hf_name, config.hf_split, config.text_column), documents
    )


def _texts(rows: Iterable[dict[str, Any]], column: str, where: str) -> Iterator[bytes]:
    """The text of each row. UserError where the rows can't be read or have no such column."""
    try:
        for row in rows:
            if column not in row:
                raise UserError(
                    f"{where} have no column '{column}'; set data.text_column to one of {', '.join(row)}"
                )
            if row[column]:
                yield str(row[column]).encode()
    except UserError:
        raise
    except Exception as error:  # pyarrow, json and the hub's client each raise their own
        raise UserError(f"{where} can't be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error.__cause__ or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
