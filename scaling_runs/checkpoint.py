"""Save and restore everything that a cell needs to go on bit for bit."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from fit.errors import UserError
from scaling_runs.files import whole_file
from scaling_runs.gathering import is_shared_out, save_in_turn
from scaling_runs.places import is_local
from scaling_runs.ranks import by_rank_0, once_a_node, wait_for_ranks
from scaling_runs.sharding import shared_as

CUT_SHORT = errno.EINVAL
"""What the system says where torch seeks past a file's end; any other of its errors is a rank's own."""


class DamagedCheckpoint(UserError):
    """A file that is no checkpoint of this model: a disk's fault or a hand's, for none is written in part."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(
            f"{path} is damaged ({kind}); remove it and run the same command again, which trains the "
            f"cell from its start"
        )
        self.path, self.kind = path, kind

    def __reduce__(self) -> tuple[type[DamagedCheckpoint], tuple[Path, str]]:
        return DamagedCheckpoint, (self.path, self.kind)  # a worker sends it home


@dataclass
class Progress:
    """How far a cell has come. The batch of a step is a function of the step, but for text that is streamed."""

    step: int = 0
    """Steps done."""
    wall_s: float = 0.0
    """Seconds that the cell itself spent training, over all attempts."""
    forked_at: int = 0
    """Steps that its trunk had done when the cell took over."""
    trunk_s: float = 0.0
    """Seconds that the trunk had been trained for when the cell took over."""
    unread_loss: float = 0.0
    """Sum of the losses of the steps since the last record, where a checkpoint lies in between; the ranks' mean."""
    unread_steps: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    """Records up to there, in the state of a trunk."""
    lanes: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Places of a stream's lanes (`data/stream.py`)."""


def save_checkpoint(
    path: Path,
    model: torch.nn.Module,
    optimizers: Sequence[Optimizer],
    progress: Progress,
    *,
    write: bool = True,
) -> None:
    """Write a checkpoint: a reader, or a crash half-way, sees the old file or the new one, whole.

    The file is the same however many ranks train, and however they share the model out. Where they do, each calls
    this, and the one that is to `write` has all of one tensor at a time.
    """
    state = {
        "model": dict(model.state_dict()),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "progress": asdict(progress),
    }
    with whole_file(path) if write else nullcontext() as file:
        if is_shared_out(state):
            save_in_turn(state, file)
        elif file is not None:
            torch.save(state, file)


def load_checkpoint(path: Path, model: torch.nn.Module, optimizers: Sequence[Optimizer]) -> Progress:
    """Restore `model` and `optimizers` in place; a fresh `Progress` where there is no checkpoint yet.

    DamagedCheckpoint where the file holds something else; OSError where this process can't read it.
    """
    if not (path.exists() if is_local(path) else by_rank_0(path.exists)):
        return Progress()
    with _as_file(path) as file:
        try:
            return _restored(file, model, optimizers)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # what pickle, zip and torch raise at bytes of chance has no common name
            if isinstance(error, OSError) and error.errno != CUT_SHORT:
                raise
            raise DamagedCheckpoint(path, type(error).__name__) from error


def _restored(file: Path, model: torch.nn.Module, optimizers: Sequence[Optimizer]) -> Progress:
    mine = model.state_dict()
    mapped = (
        is_shared_out(mine) or next(model.parameters()).device.type == "cuda"
    )  # a CPU would train in the map
    state = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    model.load_state_dict({name: shared_as(saved, mine[name]) for name, saved in state["model"].items()})
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(_shared_out(saved, optimizer))
    return Progress(**state["progress"])


@contextmanager
def _as_file(path: Path) -> Iterator[Path]:
    """`path`, or of what is at a URL a copy, one a node, that can be mapped: a rank then reads its own rows alone."""
    if is_local(path):
        yield path
        return
    with ExitStack() as held:

        def fetched() -> str:
            copy = held.enter_context(tempfile.NamedTemporaryFile())
            with path.open("rb") as source:
                shutil.copyfileobj(source, copy)
            copy.flush()
            return copy.name

        copy = Path(once_a_node(fetched))
        try:
            yield copy
        except Exception:
            wait_for_ranks()
            raise
        wait_for_ranks()  # before the copy goes


def _shared_out(saved: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """An optimiser's saved state, of which this rank has its share where its parameters are shared out."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {
        i: {
            name: shared_as(value, parameters[i]) if value.shape == parameters[i].shape else value.clone()
            for name, value in of_one.items()
        }
        for i, of_one in saved["state"].items()
    }
    return saved | {"state": state}
