"""One device's part of a row, in a process of its own: built, warmed up, told to begin, timed.

Everything heavy is imported here, once, in the server from which these processes are forked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch

import models.factory  # noqa: F401 - transformers, for whose seconds each process would wait
from fit.errors import UserError
from models.shapes import Shape
from scaling_runs.bench.profile import CUDA
from scaling_runs.cores import own_cores
from scaling_runs.placement import placed
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.timing import StepTimer

READY, GO = "ready", "go"
NO_LIMIT = 10**9
"""Of steps in the time."""


@dataclass(frozen=True)
class Task:
    spec: CellSpec
    device: str
    """cpu or cuda."""
    compile: bool
    threads: int
    for_s: float
    """Of steps that are timed."""


@dataclass(frozen=True)
class Timed:
    """Of the steps, told as soon as they are done."""

    step_s: float
    steps: int


@dataclass(frozen=True)
class Rest:
    eval_token_s: float
    memory_bytes: float | None


@dataclass(frozen=True)
class Failed:
    reason: str


def work(task: Task, index: int, pipe: Connection) -> None:
    """Tell READY, wait for GO, then tell a Timed and a Rest; a Failed where that can't be."""
    try:
        _work(task, index, pipe)
    except (BrokenPipeError, EOFError):  # nobody listens any more
        pass
    except torch.OutOfMemoryError:
        pipe.send(Failed("out of memory"))
    except (RuntimeError, UserError) as error:
        pipe.send(Failed(" ".join(str(error).split()) or type(error).__name__))


def _work(task: Task, index: int, pipe: Connection) -> None:
    if task.device == CUDA:
        torch.cuda.set_device(index)
        torch.set_float32_matmul_precision("high")
        runtime = Runtime(f"cuda:{index}", precision=task.spec.precision, compile=task.compile)
        _tell(task, placed(runtime, task.spec, "never"), pipe)
        return
    torch.set_num_threads(task.threads)
    with own_cores(task.threads):
        runtime = Runtime(precision=task.spec.precision)
        StepTimer(_small(task.spec), runtime).step()  # what any cell loads is not this one's memory
        _tell(task, runtime, pipe)


def _tell(task: Task, runtime: Runtime, pipe: Connection) -> None:
    before = _resident_bytes()
    timer = StepTimer(task.spec, runtime)
    timer.step()
    pipe.send(READY)
    if pipe.recv() != GO:
        return
    done = timer.steps(task.for_s, at_most=NO_LIMIT)
    pipe.send(Timed(done.seconds, done.times))
    eval_token_s = timer.eval_token_s()
    if task.device == CUDA:
        peak: float | None = float(torch.cuda.max_memory_allocated())
    else:
        most = _most_resident_bytes()
        peak = None if before is None or most is None else most - before
    pipe.send(Rest(eval_token_s, peak))


def _small(spec: CellSpec) -> CellSpec:
    """A cell of the same kind and next to no size."""
    shape = Shape(spec.shape.family, 8, 1, 2, 2, 24, 64)
    return replace(spec, shape=shape, recipe=replace(spec.recipe, batch_size=1))


def _resident_bytes() -> float | None:
    """Of this process now, from where its peak is counted anew; None where the system tells no such thing."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status_bytes("VmRSS")


def _most_resident_bytes() -> float | None:
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> float | None:
    """By /proc/self/status: `ru_maxrss` would be that of the process it was forked from."""
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else 1024.0 * int(found.group(1))
