"""A path at a URL whose every question and answer outlasts a short outage of the store (`outages.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from upath.extensions import ProxyUPath

from scaling_runs.outages import riding_out

ASKED_ONCE_MORE = (
    "exists",
    "is_dir",
    "is_file",
    "mkdir",
    "read_bytes",
    "read_text",
    "rename",
    "stat",
    "unlink",
    "write_bytes",
    "write_text",
)
"""Methods of a path that come to the same when they are called twice."""


class PatientPath(ProxyUPath):
    """As a UPath; what is opened, by `open`, is its caller's to try again."""

    def iterdir(self) -> Iterator[PatientPath]:
        found = riding_out(self, lambda: list(self.__wrapped__.iterdir()))
        return (self._from_upath(one) for one in found)

    def glob(self, pattern: str, **options: Any) -> Iterator[PatientPath]:
        found = riding_out(self, lambda: list(self.__wrapped__.glob(pattern, **options)))
        return (self._from_upath(one) for one in found)

    def send(self, local: Path) -> None:
        """Make this object of a file of this machine, whole or not at all."""
        riding_out(self, lambda: self.fs.put_file(str(local), self.path))


def _patiently(name: str) -> Callable[..., Any]:
    method = getattr(ProxyUPath, name)

    def call(self: PatientPath, *arguments: Any, **options: Any) -> Any:
        return riding_out(self, lambda: method(self, *arguments, **options))

    return call


for _name in ASKED_ONCE_MORE:
    setattr(PatientPath, _name, _patiently(_name))
