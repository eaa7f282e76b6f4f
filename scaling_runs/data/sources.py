"""Where documents come from: each source yields the documents of a corpus, one after another."""

from __future__ import annotations

import glob
import os
import re
import sysconfig
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from fit.errors import UserError
from scaling_runs.data.config import PYTHON_SOURCE, TEXT_FILES, DataConfig
from scaling_runs.data.corpus import data_set_name
from scaling_runs.data.hub import require_hub
from scaling_runs.data.rows import joined, load_rows, texts_from

PACKAGES = Path(__file__).with_name("packages.txt")
"""Distributions whose sources are text: those of requirements.lock, as `make lock` writes them down."""
NO_STANDARD_LIBRARY = ("__pycache__", "site-packages", "dist-packages")
READERS = {
    ".txt": "text",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
"""File endings, and the builder of `datasets` that reads them."""
PACKED = (".gz", ".zst")
"""Endings that may follow."""
HUB_HINT = "check its name, choose data=text_files, or set data.cache_dir to where it was prepared"


@dataclass(frozen=True)
class Source:
    """Documents, and a key that changes when they may have."""

    description: str
    state: tuple[Any, ...]
    """Paths, sizes and times of files, compared before anything is read again; empty for a data set of the hub."""
    documents: Callable[[], Iterator[bytes]]
    """A data set that can't be had fails on this call, before its tokeniser is looked for."""

    @property
    def size_bytes(self) -> int | None:
        """Of all files, where they are plain text; None where it is not known before they are read."""
        plain = all(Path(path).suffix in (".py", ".txt", ".jsonl", ".json") for path, _, _ in self.state)
        return sum(size for _, size, _ in self.state) if self.state and plain else None


class NotThere(UserError):
    """A source whose files are gone, of which a prepared corpus may be left."""


def open_source(config: DataConfig) -> Source:
    """The source that `config` names. UserError where it names none, NotThere where what it names is not there."""
    if config.kind == PYTHON_SOURCE:
        return python_source(python_files())
    source = (
        text_files(config.paths, config.text_column) if config.kind == TEXT_FILES else hugging_face(config)
    )
    if config.document_start is None:
        return source
    start = re.compile(config.document_start)
    return replace(source, documents=lambda: joined(source.documents(), start))


def python_files() -> set[str]:
    """Python files of the standard library and of the packages that packages.txt names, where they are installed.

    Only those, and the list is fixed: a package that serves some other purpose, such as a launcher's, or a dependency
    that this project comes to have, must not make another corpus.
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
    """Local files: a .txt is one document, any other one a row."""
    files = _matching(patterns)
    by_ending: dict[str, list[str]] = {}
    for path in files:
        if os.path.getsize(path):  # `datasets` stumbles over files of nothing
            by_ending.setdefault(_ending(path), []).append(path)

    def documents() -> Iterator[bytes]:
        for ending, paths in sorted(by_ending.items(), key=lambda item: (READERS[item[0]], item[0])):
            try:
                yield from _file_texts(ending, paths, text_column)
            except UserError as error:
                raise _culprit(ending, paths, text_column) or error from error

    return Source(
        f"local file '{files[0]}'" if len(files) == 1 else f"{len(files)} local files",
        tuple(map(_state, files)),
        documents,
    )


def _ending(path: str) -> str:
    """What says how a file is read; nothing where it is none of READERS."""
    name = Path(path)
    ending = Path(name.stem).suffix if name.suffix in PACKED else name.suffix
    return ending if ending in READERS else ""


def _file_texts(ending: str, paths: list[str], text_column: str) -> Iterator[bytes]:
    reader = READERS[ending]
    literal = [glob.escape(path) for path in paths]  # `datasets` takes each for a pattern
    options: dict[str, Any] = {"data_files": literal, "split": "train", "streaming": True}
    if reader == "text":
        options["sample_by"], text_column = "document", "text"
    if ending == ".tsv":
        options["sep"] = "\t"
    where = f"'{paths[0]}'" if len(paths) == 1 else f"the {len(paths)} {reader} files"
    hint = "mend it or choose other text"

    def rows() -> tuple[Any, list[str]]:
        return load_rows(reader, **options)[
            0
        ], []  # one by one is slow for thousands of files; `_culprit` looks for one

    return texts_from(rows, text_column, where, hint)


def _culprit(ending: str, paths: list[str], text_column: str) -> UserError | None:
    """The error of the first file that fails by itself: read together, they don't say which it was."""
    for path in paths:
        try:
            for _ in _file_texts(ending, [path], text_column):
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
        readable = {os.path.abspath(path) for path in found if _ending(path)}
        if not readable:
            there = found or os.path.isdir(pattern)
            what = f"holds no file ending in {', '.join(READERS)}" if there else "is not there"
            raise NotThere(f"data.paths names '{pattern}', which {what}; name text that is there")
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
    name = data_set_name(path, config.hf_name, config.hf_data_dir)

    def rows() -> tuple[Any, list[str]]:
        require_hub(path, "data set", HUB_HINT)
        return load_rows(
            path,
            config.hf_name,
            data_dir=config.hf_data_dir,
            split=config.hf_split,
            streaming=config.streaming,
        )

    where = f"{name} (split {config.hf_split})"
    state = tuple(_state(str(file)) for file in sorted(Path(path).rglob("*")) if file.is_file())
    return Source(name, state, lambda: texts_from(rows, config.text_column, where, HUB_HINT))
