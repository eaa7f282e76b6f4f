"""Ends that come from outside: Ctrl-C, SIGTERM, and a batch system's word that the process is to end soon.

Loads nothing: whoever waits for other modules to load may press Ctrl-C already.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNAL = signal.SIGUSR2
EXIT_CODE = 128 + SIGNAL
"""As a shell has it where the signal itself ended the process, before it trained anything."""
MEET_EVERY_S = 5.0
"""So often ranks ask each other whether they were told to end; after each step, where that takes longer."""
_asked = False


class Preempted(KeyboardInterrupt):
    """The cell's checkpoint is saved, as was asked; the same command goes on from it."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a batch system or `timeout` sends: ends a run as Ctrl-C does, workers included."""


def stop_as_by_ctrl_c() -> None:
    """Let SIGTERM unwind the process rather than end it on the spot."""

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # one is enough; a second would cut the clearing up short
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


@contextmanager
def plain_interrupts(again: str = "to go on from here") -> Iterator[None]:
    """An interrupted body ends the process with one line on stderr, and the exit code that a shell expects.

    again: what the same command does then.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        told = isinstance(interrupt, Terminated) and ranks > 1
        why = ", as torchrun does to every rank where one ends, and says below which" if told else ""
        if os.environ.get("RANK", "0") == "0":
            newline = "\n" * sys.stderr.isatty()
            print(f"{newline}interrupted{why}; run the same command again {again}", file=sys.stderr)
        if isinstance(interrupt, Preempted):
            sys.exit(EXIT_CODE)
        sys.exit(128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT))


def save_and_stop_when_asked() -> None:
    """From here on SIGUSR2 sets `asked`, which training looks at (`meetings.py`)."""

    def ask(number: int, frame: FrameType | None) -> None:
        global _asked
        _asked = True

    signal.signal(SIGNAL, ask)


def asked() -> bool:
    """Whether this process is to save and end."""
    return _asked
