"""Where a store is: a folder, or the URL of an object store that fsspec reads and writes, such as s3://bucket/results.

A folder is a `pathlib.Path`. A URL is a path of universal_pathlib, which acts as one and outlasts short outages
(`patient_path.py`): the store is written once. Only three things differ, and each has its own home: whole files
(`files.py`), locks (`locks.py`) and the table, fit and figure of a sweep, which are made in a local folder and sent
(`staged`).
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from fit.errors import UserError, reason_of
from fit.sources.urls import answer_within
from scaling_runs.errors import StoreLost, no_room

OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"retries": {"max_attempts": 2}}}}
"""Of a protocol's file system, beside what fsspec's own configuration says."""
ANSWERS_WITHIN_S = 20.0
"""Before anything is trained, a store that says nothing for so long is told."""
VIEWS_AGREE_S = 75.0
"""By then all machines see a folder alike: a client of NFS believes its cache for up to a minute (acdirmax, nfs(5))."""
ONE_PROCESS = "memory"


def protocol(url: str) -> str:
    """What stands before ://; nothing for a folder."""
    return url.partition("://")[0] if "://" in url else ""


def place(url: str) -> Path:
    """The folder or URL as a path. UserError where what reads such a URL is not installed, or nothing does."""
    path = _impatient_place(url)
    if is_local(path):
        return path
    from scaling_runs.patient_path import PatientPath

    return cast(Path, PatientPath._from_upath(cast(Any, path)))


def _impatient_place(url: str) -> Path:
    """As `place`, but a store that is away is told at once, by an error of its client's own."""
    kind = protocol(url)
    if kind in ("", "file", "local"):
        return Path(url.partition("://")[2] if kind else url)
    if kind != ONE_PROCESS and not url.partition("://")[2].strip("/"):
        raise UserError(f"store '{url}' names no bucket; write {kind}://BUCKET/FOLDER")
    try:
        from upath import UPath

        if kind == "s3":
            from fsspec import register_implementation

            from scaling_runs.s3 import PromptS3

            register_implementation(kind, PromptS3, clobber=True)
        # listings of a moment ago are no answer to what is done
        path = UPath(url, use_listings_cache=False, **OPTIONS.get(kind, {}))
        path.fs  # noqa: B018 - the file system's own package is imported here
    except ImportError as error:
        raise UserError(
            f"store '{url}' needs a package that is not installed ({error}); pip install universal_pathlib and what "
            f"fsspec needs for {kind}:// (s3fs, gcsfs, adlfs)"
        ) from None
    except ValueError as error:
        raise UserError(
            f"store '{url}' can't be understood ({error}); give a folder or a URL of fsspec"
        ) from None
    return cast(Path, path)


def is_local(path: Path) -> bool:
    return isinstance(path, Path)


def names_in(folder: Path) -> set[str]:
    """Of what lies in it, in one question. FileNotFoundError where a folder is not there; a URL may then have none."""
    return set(os.listdir(folder)) if is_local(folder) else {path.name for path in folder.iterdir()}


def require_place(url: str, *, writable: bool) -> None:
    """UserError where a store can't be reached, or with `writable` not be written to; a folder is made then."""
    root = _impatient_place(url)
    try:
        if is_local(root):
            _require_folder(root, writable)
        else:
            answer_within(ANSWERS_WITHIN_S, lambda: _ask(root, writable))
    except Exception as error:  # each protocol's client has errors of its own
        if is_local(root):
            raise UserError(
                f"store '{url}' can't be made, or written to ({reason_of(error)}); choose another folder"
            ) from error
        raise UserError(
            f"store '{url}' can't be reached, or written to ({reason_of(error)}); check its name, endpoint and "
            f"credentials"
        ) from error


def require_room(root: Path, needed_bytes: float) -> None:
    """StoreLost where a store can't be written to at this moment, or its disk has no room for so much."""
    try:
        _probe(root)
        free = shutil.disk_usage(root).free if is_local(root) else math.inf
    except OSError as error:
        raise no_room(error, root) or StoreLost(
            f"store '{root}' can't be written to ({reason_of(error)}); run the same command again once it can, to go "
            f"on from the last checkpoints"
        ) from error
    if free < needed_bytes:
        raise StoreLost(
            f"store '{root}' has room for {free / 1e6:,.0f} MB, and a checkpoint takes {needed_bytes / 1e6:,.0f}; make "
            f"room and run the same command again, which goes on from the last checkpoints"
        )


def _require_folder(root: Path, writable: bool) -> None:
    there = next(path for path in (root, *root.parents) if path.exists())
    if not there.is_dir():
        raise OSError(f"'{there}' is a file")
    if writable:
        root.mkdir(parents=True, exist_ok=True)
        _probe(root)


def _ask(root: Path, writable: bool) -> None:
    """Any question that needs the credentials; a bucket is not ours to make."""
    (root / "cells").exists()
    if writable:
        _probe(root)


def _probe(root: Path) -> None:
    probe = root / f".probe-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"there")
        if probe.read_bytes() != b"there":
            raise OSError("what is written there is not what is read")
    finally:
        with suppress(Exception):  # of a store that is away, which is told
            probe.unlink(missing_ok=True)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A local folder that stands for `folder`: itself, or a copy of it whose files are sent when the body ends."""
    if is_local(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary) / folder.name
        local.mkdir()
        before = {path.name for path in folder.iterdir() if path.is_file()} if folder.exists() else set()
        for name in before:
            (local / name).write_bytes((folder / name).read_bytes())
        try:
            yield local
        finally:
            after = {path.name for path in local.iterdir() if path.is_file()}
            for name in after:
                send(local / name, folder / name)
            for name in before - after:
                (folder / name).unlink()


def send(local: Path, path: Path) -> None:
    """Make a file of this machine the object at a URL, whole or not at all."""
    cast(Any, path).send(local)
