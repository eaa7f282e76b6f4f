"""A batch system's word that the process is to end soon: the cell in the works saves its checkpoint first."""

from __future__ import annotations

import signal
from types import FrameType

SIGNAL = signal.SIGUSR2
EXIT_CODE = 128 + SIGNAL
"""As a shell has it where the signal itself ended the process, before it trained anything."""
_asked = False


class Preempted(KeyboardInterrupt):
    """The cell's checkpoint is saved, as was asked; the same command goes on from it."""


def save_and_stop_when_asked() -> None:
    """From here on SIGUSR2 sets `asked`, which the training loop looks at after each step."""

    def ask(number: int, frame: FrameType | None) -> None:
        global _asked
        _asked = True

    signal.signal(SIGNAL, ask)


def asked() -> bool:
    """Whether this process is to save and end."""
    return _asked
