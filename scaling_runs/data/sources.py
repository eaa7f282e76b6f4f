"""Where documents come from: each source yields the documents of a corpus, one after another."""

from __future__ import annotations

import glob
import logging
import os
import sysconfig
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from fit.errors import UserError
from scaling_runs.data.config import DataConfig
from scaling_runs.data.hub import first_line, require_hub

PACKAGES = Path(__file__).with_name("packages.txt")
"""Distributions whose sources are text: those of requirements.lock, as `make lock` writes them down."""
NO_STANDARD_LIBRARY = ("__pycache__", "site-packages", "dist-packages")
READERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
"""File endings, and the builder of `datasets` that reads them."""
HUB_HINT = "check its name, choose data=text_files, or set data.cache_dir to where it was prepared"


@dataclass(frozen=True)
class Source:
    """Documents, and a key that changes when they may have."""

    description: str
    state: tuple[Any, ...]
    """Paths, sizes and times of files, or a data set's name: compared before anything is read again."""
    documents: Callable[[], Iterator[bytes]]
    """A data set that can't be had fails on this call, before its tokeniser is looked for."""


def open_source(config: DataConfig) -> Source:
    """The source that `config` names. UserError where what it names is not there."""
    if config.kind == "python_source":
        return python_source(python_files())
    if config.kind == "text_files":
        return text_files(config.paths, config.text_column)
    return hugging_face(config)


def python_files() -> set[str]:
    """Python files of the standard library and of the packages that packages.txt names, where they are installed.

    Only those: a package that serves some other purpose, such as a launcher's, must not make another corpus.
    """
    files = set(_below(Path(sysconfig.get_paths()["stdlib"]).resolve()))
    for name in PACKAGES.read_text().split():
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        paths = (
            str(Path(str(file.locate())).resolve()) for file in package.files or [] if file.suffix == ".py"
        )
        files.update(path for path in paths if os.path.isfile(path))
    return files


def python_source(files: Collection[str]) -> Source:
    """Each file byte for byte: real text that is there on any machine."""
    if not files:
        raise UserError("no Python files of this installation are found; choose data=text_files instead")
    in_order = sorted(files)
    return Source(
        "Python sources of the standard library and the installed packages",
        tuple(_state(path) for path in in_order),
        lambda: (_read(path) for path in in_order),
    )


def _below(root: Path) -> Iterator[str]:
    """Python files of a standard library, less the packages that are installed below it."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in NO_STANDARD_LIBRARY]
        paths = (os.path.join(folder, name) for name in names if name.endswith(".py"))
        yield from (path for path in paths if os.path.isfile(path))  # an editor's lock is a link to nowhere


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"'{path}' can't be read: {error.strerror}; mend it or choose data=text_files"
        ) from error


def text_files(patterns: list[str], text_column: str) -> Source:
    """Local files: a .txt is one document, a .jsonl, .json or .parquet one a row."""
    files = _matching(patterns)
    by_reader: dict[str, list[str]] = {}
    for path in files:
        if os.path.getsize(path):  # `datasets` stumbles over files of nothing
            by_reader.setdefault(READERS[Path(path).suffix], []).append(path)

    def documents() -> Iterator[bytes]:
        for reader, paths in sorted(by_reader.items()):
            try:
                yield from _file_texts(reader, paths, text_column)
            except UserError as error:
                raise _culprit(reader, paths, text_column) or error from error

    return Source(
        f"local file '{files[0]}'" if len(files) == 1 else f"{len(files)} local files",
        (text_column, *map(_state, files)),
        documents,
    )


def _file_texts(reader: str, paths: list[str], text_column: str) -> Iterator[bytes]:
    literal = [glob.escape(path) for path in paths]  # `datasets` takes each for a pattern
    options: dict[str, Any] = {"data_files": literal, "split": "train", "streaming": True}
    if reader == "text":
        options["sample_by"], text_column = "document", "text"
    where = f"'{paths[0]}'" if len(paths) == 1 else f"the {len(paths)} {reader} files"
    return _texts(lambda: load_dataset(reader, **options), text_column, where, "mend it or choose other text")


def _culprit(reader: str, paths: list[str], text_column: str) -> UserError | None:
    """The error of the first file that fails by itself: read together, they don't say which it was."""
    for path in paths:
        try:
            for _ in _file_texts(reader, [path], text_column):
                pass
        except UserError as error:
            return error
    return None


def _matching(patterns: list[str]) -> list[str]:
    if not patterns:
        raise UserError(
            "data.paths is empty; name files, folders or globs, such as data.paths=[notes.txt,corpus/]"
        )
    files: set[str] = set()
    for pattern in patterns:
        whole = os.path.join(glob.escape(pattern), "**", "*") if os.path.isdir(pattern) else pattern
        named = [pattern] if os.path.isfile(pattern) else glob.glob(whole, recursive=True)
        found = [path for path in named if os.path.isfile(path)]
        readable = {os.path.abspath(path) for path in found if Path(path).suffix in READERS}
        if not readable:
            there = found or os.path.isdir(pattern)
            what = f"holds no file ending in {', '.join(READERS)}" if there else "is not there"
            raise UserError(f"data.paths names '{pattern}', which {what}; name text that is there")
        files |= readable
    return sorted(files)


def _state(path: str) -> tuple[str, int, int]:
    status = os.stat(path)
    return path, status.st_size, status.st_mtime_ns


def hugging_face(config: DataConfig) -> Source:
    """A data set of the hub, or a local folder that `datasets` can load."""
    path = config.hf_path
    if not path:
        raise UserError(
            "data.hf_path is not set; name a data set, such as data.hf_path=HuggingFaceFW/fineweb-edu"
        )
    name = path + (f" ({config.hf_name})" if config.hf_name else "")
    where = f"data set '{name}' (split {config.hf_split})"

    def rows() -> Any:
        require_hub(path, "data set", HUB_HINT)
        return load_dataset(path, config.hf_name, split=config.hf_split, streaming=config.streaming)

    inside = (file for file in sorted(Path(path).rglob("*")) if file.is_file())
    state = (
        path,
        config.hf_name,
        config.hf_split,
        config.text_column,
        *(_state(str(file)) for file in inside),
    )
    return Source(f"data set {name}", state, lambda: _texts(rows, config.text_column, where, HUB_HINT))


def load_dataset(*names: Any, **options: Any) -> Any:
    """As `datasets` has it, silent."""
    import datasets

    datasets.logging.set_verbosity(logging.CRITICAL)  # it logs what it also raises
    datasets.disable_progress_bars()
    return datasets.load_dataset(*names, **options)


def _texts(load: Callable[[], Any], column: str, where: str, hint: str) -> Iterator[bytes]:
    """The text of each row that `load` gives. UserError where they can't be had or hold no such text.

    `load` is called here; its rows are read as they are asked for. `hint`: what to do about unreadable ones.
    """
    return texts_of(text_rows(load, column, where, hint), column, where, hint)


def text_rows(load: Callable[[], Any], column: str, where: str, hint: str) -> Any:
    """The data set that `load` gives, its text alone. UserError where it can't be had or has no such column."""
    with reading(where, hint):
        rows = load()
        columns = rows.column_names
    if columns is not None:
        _require_column(column, columns, where)
        rows = rows.select_columns([column])
    return rows


def texts_of(rows: Any, column: str, where: str, hint: str) -> Iterator[bytes]:
    """The text of each row that has any. UserError where a row can't be read or holds no text."""
    with reading(where, hint):
        for row in rows:
            _require_column(column, row, where)
            text = row[column]
            if text is not None and not isinstance(text, str):
                raise UserError(
                    f"{where}: column '{column}' holds {type(text).__name__}, not text; set data.text_column "
                    f"to one that holds text"
                )
            if text:
                yield text.encode()


@contextmanager
def reading(where: str, hint: str) -> Iterator[None]:
    """What reading raises in the body, as a UserError that names the data."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # pyarrow, json and the hub's client each raise their own
        raise UserError(f"{where} can't be read ({first_line(error)}); {hint}") from error


def _require_column(column: str, columns: Any, where: str) -> None:
    if column not in columns:
        raise UserError(
            f"{where}: there is no column '{column}'; set data.text_column to one of {', '.join(columns)}"
        )
