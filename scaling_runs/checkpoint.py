"""Save and restore everything that a cell needs to go on bit for bit."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch.optim import Optimizer

from fit.errors import UserError
from scaling_runs.files import whole_file
from scaling_runs.places import is_local

SAVE_EVERY_S = 20.0
MAX_SAVE_SHARE = 0.02
"""Of the time, past the first save: a large model, which takes long to save, is saved seldomer."""
MAX_BETWEEN_SAVES_S = 900.0
"""What a killed cell may lose, however long a save takes."""


class DamagedCheckpoint(UserError):
    """A file that is no checkpoint of this model: a disk's fault or a hand's, for none is written in part."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"{path} is damaged ({type(error).__name__}); remove it and run the same command again, which trains the "
            f"cell from its start"
        )
        self.path = path


@dataclass
class Progress:
    """How far a cell has come. The batch of a step is a function of the step, so this is all the data state."""

    step: int = 0
    """Steps done."""
    wall_s: float = 0.0
    """Seconds that the cell itself spent training, over all attempts."""
    forked_at: int = 0
    """Steps that its trunk had done when the cell took over."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Records up to there, in the state of a trunk."""


class SaveClock:
    """Says when the next checkpoint is due, by the time since the last one and what that one took."""

    def __init__(self) -> None:
        self.saved_at, self.save_s = time.monotonic(), 0.0

    def due(self) -> bool:
        wait_s = min(max(SAVE_EVERY_S, self.save_s / MAX_SAVE_SHARE), MAX_BETWEEN_SAVES_S)
        return time.monotonic() - self.saved_at > wait_s

    def saved(self, started_at: float) -> None:
        """A save that began at `started_at` (time.monotonic) is done."""
        self.saved_at = time.monotonic()
        self.save_s = self.saved_at - started_at


def save_checkpoint(
    path: Path, model: torch.nn.Module, optimizers: Sequence[Optimizer], progress: Progress
) -> None:
    """Write a checkpoint: a reader, or a crash half-way, sees the old file or the new one, whole."""
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "progress": asdict(progress),
    }
    with whole_file(path) as file:
        torch.save(state, file)


def load_checkpoint(
    path: Path, model: torch.nn.Module, optimizers: Sequence[Optimizer], *, must_exist: bool = False
) -> Progress:
    """Restore `model` and `optimizers` in place; a fresh `Progress` where there is no checkpoint yet.

    UserError where there is none though one `must_exist`, DamagedCheckpoint where the file holds something else.
    """
    if not path.exists():
        if must_exist:
            raise UserError(f"{path} is gone, which another run has removed; run the same command again")
        return Progress()
    try:
        source = path if is_local(path) else io.BytesIO(path.read_bytes())
        state = torch.load(source, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return Progress(**state["progress"])
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # what pickle, zip and torch raise at bytes of chance has no common name
        raise DamagedCheckpoint(path, error) from error
