"""Writing files of record so that a reader, or a crash, never sees half of one."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from fit.errors import UserError
from scaling_runs.places import is_local, send


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, and to read back, that takes the name `path` once it is whole and on the disk.

    It has a temporary name in the same folder until then. Where the body fails it goes, and what `path` held stays. At
    a URL, where an object is whole or not there, it is sent when the body has ended.
    """
    if not is_local(path):
        with tempfile.NamedTemporaryFile() as local:
            yield cast(BinaryIO, local)
            local.flush()
            send(Path(local.name), path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # unlike a pid, no other node has it
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def appending(path: Path) -> Iterator[Callable[[str], None]]:
    """A function that adds a line to `path`, which is in the file once it returns.

    An object at a URL can't be added to: it is sent anew with each line.
    """
    if is_local(path):
        with path.open("a", buffering=1) as file:

            def write(line: str) -> None:
                file.write(line + "\n")

            yield write
        return
    lines = [path.read_text()] if path.exists() else []

    def send(line: str) -> None:
        lines.append(line + "\n")
        path.write_text("".join(lines))

    yield send


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed while they wrote into `folder` have left half-written."""
    if not is_local(folder):
        return
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`text` as UTF-8, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON; NaN and infinities are refused, for no other reader takes them."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """What the file holds. UserError where it is no JSON: a disk's fault or a hand's, for none is written in part."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}); remove its folder {path.parent} and run the same command again"
        ) from None
