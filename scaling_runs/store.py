"""One folder a cell, named by the hash of its spec; what is done is read off the disk, never remembered.

cells/<cell_id>/
    spec.json        what was asked for
    progress.json    how far it has come, a heartbeat for whoever watches
    checkpoint.pt    to go on from; gone when the cell is finished
    attempt.json     when its last attempt began; gone when the cell is finished
    attempts.jsonl   each attempt that came to train: by whom, when, and from which step
    metrics.jsonl    the learning curve
    result.json      there when the cell is finished, and only then
    failure.json     the reason, where the last attempt failed
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from fit.errors import UserError
from scaling_runs.files import appending, read_json, remove_abandoned, write_json, write_text
from scaling_runs.holder import Held, Holder
from scaling_runs.locks import holder_of, holding, is_held, is_kept
from scaling_runs.places import is_local, names_in, place
from scaling_runs.spec import CellSpec, spec_from_dict, spec_json
from scaling_runs.trunk import Trunk

Status = Literal["finished", "failed", "running", "waiting"]
Record = dict[str, float]
LOCK = ".lock"
PROGRESS_EVERY_S = 1.0
WRITES_AT_ONCE = 16
"""Files on their way to the disk, each of which is waited for: ten of them take little longer than one."""
ASKED_AT_ONCE = 16
"""Questions on their way to a URL."""
T = TypeVar("T")
FINAL_LOSS = "val_loss"
"""Only the last record of a curve has it."""


class CellBusy(UserError):
    """Another process is training this cell."""


@dataclass(frozen=True)
class CellFolder:
    """The files of one cell."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def attempts_file(self) -> Path:
        return self.path / "attempts.jsonl"

    def spec(self) -> CellSpec:
        return spec_from_dict(read_json(self.path / "spec.json"))

    def result(self) -> dict[str, Any] | None:
        return _read_if_there(self.path / "result.json")

    def finished(self) -> bool:
        """Whether there is a result, which is not read for it."""
        return (self.path / "result.json").exists()

    def failure(self) -> str | None:
        """Why the last attempt failed, in words; None where it did not."""
        record = _read_if_there(self.path / "failure.json")
        return None if record is None else str(record["reason"])

    def failed_at(self) -> int | None:
        """When the last attempt failed, in nanoseconds by the file system's clock; None where it did not."""
        return _written_at(self.path / "failure.json")

    def status(self) -> Status:
        try:
            names = names_in(self.path)
        except FileNotFoundError:
            return "waiting"
        if "result.json" in names:
            return "finished"
        if "failure.json" in names:
            return "failed"
        return "running" if "progress.json" in names else "waiting"

    def attempt(self) -> int | None:
        """When the last attempt began, in nanoseconds of its process's clock; None where there was none."""
        record = _read_if_there(self.path / "attempt.json")
        return None if record is None else int(record["began_ns"])

    def saved_at(self) -> int | None:
        """When its checkpoint was written, in nanoseconds by the file system's clock; None where there is none."""
        return _written_at(self.checkpoint)

    def busy(self) -> bool:
        """Whether a process trains the cell at this moment."""
        return (self.path / "attempt.json").exists() and is_held(self.path / LOCK)

    def holder(self) -> str:
        """Who has the cell, in words."""
        return str(holder_of(self.path / LOCK) or "another process")

    def kept(self) -> bool:
        """As `busy`; at a URL a process that has died is not taken for one that trains, for which it may be watched for
        as long as a lease lasts.
        """
        return (self.path / "attempt.json").exists() and is_kept(self.path / LOCK)

    def progress_flops(self, spared: float = 0.0) -> float:
        """FLOPs done by the last heartbeat, past those that a trunk has `spared` the cell."""
        progress = _read_if_there(self.path / "progress.json")
        return max(0.0, float(progress["flops"]) - spared) if progress else 0.0

    def curve(self) -> list[Record]:
        """Every record of metrics.jsonl, in order, less a last line that a kill cut short; none without the file."""
        return _lines_if_there(self.metrics_file)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the cell against other processes; CellBusy where a living one has it."""
        with ExitStack() as held:
            try:
                held.enter_context(holding(self.path / LOCK, patiently=True))
            except Held as taken:
                who = taken.holder or "another process"
                raise CellBusy(
                    f"cell '{self.path.name}' is being trained by {who}; wait for its end and start again"
                ) from None
            yield

    @contextmanager
    def metrics(
        self, up_to_step: int, write: bool, then: Callable[[Record], None]
    ) -> Iterator[Callable[[Record], None]]:
        """A function that appends one record, and passes it on to `then`.

        Records past `up_to_step` and that of the final loss, which a resumed cell will write again, go; those that
        stay are passed on first, so that `then` sees the whole curve. With `write` false (ranks but the first) records
        are dropped.
        """
        if not write:
            yield lambda record: None
            return
        kept = [r for r in self.curve() if r["step"] <= up_to_step and FINAL_LOSS not in r]
        self.begin_curve(kept)
        for record in kept:
            then(record)
        last_heartbeat = -math.inf
        with appending(self.metrics_file) as write_line:

            def append(record: Record) -> None:
                nonlocal last_heartbeat
                write_line(json.dumps(record, allow_nan=False))
                if "flops" in record and time.monotonic() - last_heartbeat > PROGRESS_EVERY_S:
                    write_json(
                        self.path / "progress.json", {"step": record["step"], "flops": record["flops"]}
                    )
                    last_heartbeat = time.monotonic()
                then(record)

            yield append

    def begin_curve(self, records: Sequence[Record]) -> None:
        """The curve so far, in place of what was there."""
        write_text(self.metrics_file, _lines(records))

    def write_spec(self, spec: CellSpec) -> None:
        write_json(self.path / "spec.json", json.loads(spec_json(spec)))

    def write_result(self, result: dict[str, Any]) -> None:
        """The last thing a cell does: from here on it is finished."""
        write_json(self.path / "result.json", result)
        for name in ("failure.json", "progress.json", "attempt.json", "checkpoint.pt"):
            (self.path / name).unlink(missing_ok=True)

    def write_failure(self, reason: str, details: str = "") -> None:
        write_json(self.path / "failure.json", {"reason": reason, "details": details})

    def begin_attempt(self) -> None:
        """Mark the cell as begun, under its lock; what an earlier attempt left half-written or failed at, goes."""
        remove_abandoned(self.path)
        (self.path / "failure.json").unlink(missing_ok=True)
        write_json(self.path / "attempt.json", {"began_ns": time.time_ns()})
        if not (self.path / "progress.json").exists():
            write_json(self.path / "progress.json", {"step": 0, "flops": 0})

    def begin_training(self, step: int, *, from_trunk: bool) -> None:
        """Add to the attempts that this one goes on from `step`, by its own checkpoint or by its trunk's state."""
        source = "trunk" if from_trunk else "checkpoint" if step else "nothing"
        begun = [*self.attempts(), asdict(Holder.this()) | {"step": step, "from": source}]
        write_text(self.attempts_file, _lines(begun))

    def attempts(self) -> list[dict[str, Any]]:
        """Those that came to train, in order, less a last line that a kill cut short."""
        return _lines_if_there(self.attempts_file)


@dataclass(frozen=True)
class Store:
    """All cells under one root; sweeps that plan the same cell share it."""

    root: Path
    """A folder, or a URL as `places.place` makes it a path."""

    @classmethod
    def at(cls, url: str) -> Store:
        """The store that `store=URL` names."""
        return cls(place(url))

    def cell(self, cell_id: str) -> CellFolder:
        return CellFolder(self.root / "cells" / cell_id)

    def add(self, spec: CellSpec) -> CellFolder:
        """The folder of `spec`, made where it is not there yet; its trunk knows where its cooldown is to begin."""
        self.add_all([spec])
        return self.cell(spec.cell_id)

    def add_all(self, specs: Iterable[CellSpec]) -> None:
        """As `add`, several files at once: each must be on the disk, and thousands one by one would take a minute."""
        with ThreadPoolExecutor(WRITES_AT_ONCE) as pool:
            unfinished = [spec for spec in pool.map(self._add_cell, specs) if spec is not None]
            forks: dict[str, set[int]] = {}
            trunks = {}
            for spec in unfinished:
                if spec.trunk_steps:
                    trunks[spec.trunk_id] = self.trunk(spec)
                    forks.setdefault(spec.trunk_id, set()).add(spec.trunk_steps)
            list(pool.map(lambda trunk_id: trunks[trunk_id].add_forks(forks[trunk_id]), trunks))

    def of_each(self, cell_ids: Sequence[str], ask: Callable[[CellFolder], T]) -> dict[str, T]:
        """What `ask` comes to for each of these cells; at a URL, whose answers take long, several at once."""
        if is_local(self.root):
            return {cell_id: ask(self.cell(cell_id)) for cell_id in cell_ids}
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            return dict(zip(cell_ids, pool.map(ask, map(self.cell, cell_ids)), strict=True))

    def _add_cell(self, spec: CellSpec) -> CellSpec | None:
        """The spec, where its cell is not finished."""
        folder = self.cell(spec.cell_id)
        if not (folder.path / "spec.json").exists():
            folder.write_spec(spec)
        return None if folder.finished() else spec

    def trunk(self, spec: CellSpec) -> Trunk:
        """What the cell has in common with others that differ in their end alone."""
        return Trunk(self.root / "trunks" / spec.trunk_id)

    def sweep_folder(self, name: str) -> Path:
        return self.root / name


def _written_at(path: Path) -> int | None:
    """In nanoseconds by the file system's clock."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _read_if_there(path: Path) -> dict[str, Any] | None:
    try:
        return dict(read_json(path))
    except FileNotFoundError:
        return None


def _lines(records: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _lines_if_there(path: Path) -> list[dict[str, Any]]:
    """Each line that is whole."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]
