"""What every contestant shares: it trains in its own loop, and is told when to take its next few steps.

A contestant is a process that is started with a task as JSON, says "ready" once it has warmed up, and then, for each
line on its stdin, takes that task's steps and says how many seconds they took. So several can take turns on one
machine, whose speed drifts, and a figure compares what was measured within the same minute.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import numpy as np


@dataclass(frozen=True)
class Task:
    """A shape, its batch, and the text."""

    width: int
    depth: int
    heads: int
    mlp_width: int
    vocab_size: int
    rope_theta: float
    seq_len: int
    batch: int
    """Sequences a step."""
    lr: float
    weight_decay: float
    clip: float
    threads: int
    precision: str
    steps: int
    """Of a turn."""
    warmup: int
    """Steps before the first turn, in which things are compiled and memory is laid out."""
    windows: str
    """File of (n, seq_len + 1) tokens."""

    def load_windows(self) -> np.ndarray:
        return np.load(self.windows).astype(np.int64)


class Turns:
    """Stops the one who asks for data: after the warm-up, and after each turn."""

    def __init__(self, task: Task, told: TextIO) -> None:
        self.task, self.told = task, told

    def batches(self) -> Iterator[np.ndarray]:
        """(batch, seq_len + 1) tokens for one step after another, without end."""
        windows, size = self.task.load_windows(), self.task.batch
        places = iter(range(1 << 60))
        for _ in range(self.task.warmup):
            yield _batch(windows, size, next(places))
        self._say("ready")
        while True:
            if not sys.stdin.readline():
                os._exit(0)  # nobody asks any more, and a peer's loop has no other way out
            started = time.perf_counter()
            for _ in range(self.task.steps):
                yield _batch(windows, size, next(places))
            self._say(repr(time.perf_counter() - started))

    def _say(self, line: str) -> None:
        self.told.write(line + "\n")
        self.told.flush()


def _batch(windows: np.ndarray, size: int, place: int) -> np.ndarray:
    rows = np.arange(place * size, (place + 1) * size) % len(windows)
    return windows[rows]


def start() -> tuple[Task, Turns]:
    """The task of this process. What a peer prints goes to stderr, for stdout is for the turns."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    task = Task(**json.loads(sys.argv[1]))
    import torch

    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    return task, Turns(task, told)
