"""The process that has a lock, by name, for whoever is refused it."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """A process that has a lock."""

    host: str
    pid: int
    since: float
    """Seconds since 1970, by its own clock."""

    @classmethod
    def this(cls) -> Holder:
        return cls(socket.gethostname(), os.getpid(), time.time())

    @classmethod
    def of(cls, text: str) -> Holder | None:
        """The holder that a lock's content names; None where it names none."""
        try:
            content = json.loads(text)
            return cls(str(content["host"]), int(content["pid"]), float(content["since"]))
        except (ValueError, KeyError, TypeError):
            return None

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host}, since {since}"


class Held(Exception):
    """Another has it; `holder` says who, where that is known."""

    def __init__(self, path: Path, holder: Holder | None = None) -> None:
        super().__init__(str(path))
        self.holder = holder


def named_in(path: Path) -> Holder | None:
    """Whom a lock or a lease names."""
    try:
        return Holder.of(path.read_text(errors="replace"))
    except OSError:  # it is only for a message
        return None
