"""Run tables at URLs that fsspec reads: s3://, gs://, abfs://, https:// and others; a file, or a sweep's folder.

Endpoint and credentials are fsspec's own: the environment variables and files of the store's own tools, and
FSSPEC_S3_ENDPOINT_URL for an S3 server that is not Amazon's.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Any, TypeVar

from fit.errors import UserError, reason_of
from fit.sources.files import RUNS, rows_of
from fit.sources.rows import Rows

ANSWERS_WITHIN_S = 20.0
"""A host that says nothing for so long is told; what it begins to send may take as long as it takes."""
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """A file or a folder that is there."""

    url: str
    """Less what follows a question mark, which may be a signature."""
    files: Any
    """The fsspec file system that has it."""
    path: str
    """As that file system calls it."""
    is_folder: bool

    def read(self, name: str = "") -> bytes:
        """The file; with a `name` the one at that place of the folder, or beside it: `../cells/a`.

        FileNotFoundError where a folder has no such file; UserError for whatever else goes wrong.
        """
        path = self.path.rstrip("/")
        while name.startswith("../"):
            path, name = path.rpartition("/")[0], name.removeprefix("../")
        try:
            return bytes(self.files.cat_file(f"{path}/{name}" if name else path))
        except FileNotFoundError:
            if name:
                raise
            raise _no_file(self.url) from None
        except Exception as error:  # each protocol's client has errors of its own
            raise _unreadable(self.url, error) from None


def find(url: str) -> Found:
    """What is at `url`. UserError, in one sentence, where nothing is, or nobody answers, or it may not be read."""
    name = url.partition("?")[0]
    try:
        import fsspec

        files, path = fsspec.core.url_to_fs(url)
        about = answer_within(ANSWERS_WITHIN_S, lambda: files.info(path))
    except ImportError as error:
        raise UserError(
            f"'{name}' needs a package that is not installed ({error}); pip install fsspec and what reads such a URL: "
            f"s3fs for s3://, gcsfs for gs://, adlfs for abfs://, aiohttp for https://"
        ) from None
    except FileNotFoundError as error:
        cause = error.__cause__  # a web server that is not there has no file for fsspec
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
            raise _unreadable(name, cause) from None
        raise _no_file(name, error) from None
    except Exception as error:
        raise _unreadable(name, error) from None
    return Found(name, files, path, about["type"] == "directory")


def read_table(found: Found) -> Rows:
    """The rows of a table, or of the runs.csv of a sweep's folder. UserError where it can't be read, or has none."""
    if not found.is_folder:
        return rows_of(found.url, found.read())
    try:
        content = found.read(RUNS)
    except FileNotFoundError:
        raise UserError(
            f"folder '{found.url}' holds no {RUNS}; give a sweep's folder, or a CSV or parquet file"
        ) from None
    return rows_of(f"{found.url.rstrip('/')}/{RUNS}", content)


def answer_within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` returns or raises. TimeoutError where it does neither in time; it is left to itself then."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None


def _no_file(url: str, error: Exception | None = None) -> UserError:
    reason = "" if error is None else reason_of(error)
    more = "" if reason.strip("/") in url else f" ({reason})"
    return UserError(
        f"'{url}' does not exist{more}; give the URL of a CSV or parquet file, or of a sweep's folder"
    )


def _unreadable(url: str, error: Exception) -> UserError:
    return UserError(
        f"'{url}' can't be read ({reason_of(error)}); check its name, its endpoint, the credentials and the connection"
    )
