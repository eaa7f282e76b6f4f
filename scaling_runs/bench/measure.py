"""Rows of a profile, one after another: processes side by side on one, two or all devices, told when to begin."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from scaling_runs.bench.energy import EnergyMeter
from scaling_runs.bench.profile import Row, Setting
from scaling_runs.bench.worker import GO, READY, Failed, Rest, Task, Timed, work

PATIENCE_S = 1800.0
"""For one device to be ready: `torch.compile` takes minutes for a deep model."""
Worker = tuple[BaseProcess, Connection]


class NotMeasured(Exception):
    """A row that this machine can't do; the message says why."""


def measure(setting: Setting, task: Task, meter: EnergyMeter) -> Row:
    """One row. Raises NotMeasured where a device has no memory for it, or its process dies."""
    with _started(task, setting.devices) as workers:
        for worker in workers:
            _next(worker, str)
        joules_so_far = meter.begin()
        for _, pipe in workers:
            with suppress(BrokenPipeError):  # what it died of is told by the next line that it owes
                pipe.send(GO)
        timed = [_next(worker, Timed) for worker in workers]
        joules = joules_so_far()
        rest = [_next(worker, Rest) for worker in workers]
    tokens = setting.batch_tokens * sum(one.steps for one in timed)
    memory = [one.memory_bytes for one in rest if one.memory_bytes is not None]
    return Row(
        setting,
        sum(one.step_s for one in timed) / len(timed),
        sum(one.eval_token_s for one in rest) / len(rest),
        max(memory, default=None),
        None if joules is None else joules / tokens,
    )


@contextmanager
def _started(task: Task, devices: int) -> Iterator[list[Worker]]:
    """A process a device, which end with the body."""
    kinds = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
    if "forkserver" in kinds:
        context.set_forkserver_preload([work.__module__])
    workers: list[Worker] = []
    try:
        with _deaf_to_ctrl_c():
            for index in range(devices):
                mine, its = context.Pipe()
                process = context.Process(target=work, args=(task, index, its), daemon=True)
                process.start()
                its.close()
                workers.append((process, mine))
        yield workers
    finally:
        for process, pipe in workers:
            pipe.close()
            process.terminate()
            process.join()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started in the body never hear a terminal's Ctrl-C, which is this one's to heed, after it."""
    resource_tracker.ensure_running()  # whose start ends by letting the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _next(worker: Worker, kind: type[Any]) -> Any:
    """What the worker tells next, of this kind."""
    process, pipe = worker
    if not wait([pipe, process.sentinel], timeout=PATIENCE_S):
        raise NotMeasured(f"no answer in {PATIENCE_S:.0f} s")
    try:
        told = pipe.recv() if pipe.poll() else None
    except (EOFError, ConnectionResetError):
        told = None
    if isinstance(told, Failed):
        raise NotMeasured(told.reason)
    if told is None:
        process.join()
        raise NotMeasured(
            f"its process died with exit code {process.exitcode}, as for want of memory"
            if process.exitcode and process.exitcode < 0
            else f"its process ended with exit code {process.exitcode}"
        )
    assert isinstance(told, kind), told
    assert kind is not str or told == READY
    return told
