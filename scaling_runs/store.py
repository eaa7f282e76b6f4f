"""One folder a cell, named by the hash of its spec; what is done is read off the disk, never remembered.

cells/<cell_id>/
    spec.json        what was asked for
    progress.json    how far it has come, a heartbeat for whoever watches
    checkpoint.pt    to go on from; gone when the cell is finished
    metrics.jsonl    the learning curve
    result.json      there when the cell is finished, and only then
    failure.json     the reason, where the last attempt failed
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from scaling_runs.files import read_json, write_json, write_text
from scaling_runs.spec import CellSpec, spec_from_dict

Status = Literal["finished", "failed", "running", "waiting"]
Record = dict[str, float]
PROGRESS_EVERY_S = 1.0


class CellBusy(RuntimeError):
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

    def spec(self) -> CellSpec:
        return spec_from_dict(read_json(self.path / "spec.json"))

    def result(self) -> dict[str, Any] | None:
        return _read_if_there(self.path / "result.json")

    def failure(self) -> str | None:
        """Why the last attempt failed, in words; None where it did not."""
        record = _read_if_there(self.path / "failure.json")
        return None if record is None else str(record["reason"])

    def status(self) -> Status:
        if (self.path / "result.json").exists():
            return "finished"
        if (self.path / "failure.json").exists():
            return "failed"
        return "running" if (self.path / "progress.json").exists() else "waiting"

    def progress_flops(self) -> float:
        """FLOPs done by the last heartbeat."""
        progress = _read_if_there(self.path / "progress.json")
        return float(progress["flops"]) if progress else 0.0

    def curve(self) -> list[Record]:
        """Every record of metrics.jsonl, in order; none where there is no such file."""
        if not self.metrics_file.exists():
            return []
        return [json.loads(line) for line in self.metrics_file.read_text().splitlines() if line]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the cell against other processes; CellBusy where one has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout:
            raise CellBusy(f"cell {self.path.name} is being trained by another process") from None

    @contextmanager
    def metrics(
        self, up_to_step: int, write: bool, then: Callable[[Record], None]
    ) -> Iterator[Callable[[Record], None]]:
        """A function that appends one record, and passes it on to `then`.

        Records past `up_to_step`, which a resumed cell will write again, go. With `write` false (ranks but the
        first) records are dropped.
        """
        if not write:
            yield lambda record: None
            return
        kept = [record for record in self._whole_records() if record["step"] <= up_to_step]
        write_text(self.metrics_file, "".join(json.dumps(record) + "\n" for record in kept))
        last_heartbeat = -math.inf
        with self.metrics_file.open("a", buffering=1) as file:

            def append(record: Record) -> None:
                nonlocal last_heartbeat
                file.write(json.dumps(record, allow_nan=False) + "\n")
                if "flops" in record and time.monotonic() - last_heartbeat > PROGRESS_EVERY_S:
                    write_json(
                        self.path / "progress.json", {"step": record["step"], "flops": record["flops"]}
                    )
                    last_heartbeat = time.monotonic()
                then(record)

            yield append

    def _whole_records(self) -> list[Record]:
        """The curve less a last line that a kill cut short."""
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def write_spec(self, spec: CellSpec) -> None:
        write_json(self.path / "spec.json", dataclasses.asdict(spec))

    def write_result(self, result: dict[str, Any]) -> None:
        """The last thing a cell does: from here on it is finished."""
        write_json(self.path / "result.json", result)
        for name in ("failure.json", "progress.json", "checkpoint.pt"):
            (self.path / name).unlink(missing_ok=True)

    def write_failure(self, reason: str, details: str = "") -> None:
        write_json(self.path / "failure.json", {"reason": reason, "details": details})

    def begin_attempt(self) -> None:
        """Mark the cell as begun; a failure of an earlier attempt no longer holds once it is tried again."""
        (self.path / "failure.json").unlink(missing_ok=True)
        if not (self.path / "progress.json").exists():
            write_json(self.path / "progress.json", {"step": 0, "flops": 0})


@dataclass(frozen=True)
class Store:
    """All cells under one root; sweeps that plan the same cell share it."""

    root: Path

    def cell(self, cell_id: str) -> CellFolder:
        return CellFolder(self.root / "cells" / cell_id)

    def add(self, spec: CellSpec) -> CellFolder:
        """The folder of `spec`, made where it is not there yet."""
        folder = self.cell(spec.cell_id)
        if not (folder.path / "spec.json").exists():
            folder.write_spec(spec)
        return folder

    def sweep_folder(self, name: str) -> Path:
        return self.root / name


def _read_if_there(path: Path) -> dict[str, Any] | None:
    try:
        return dict(read_json(path))
    except FileNotFoundError:
        return None
