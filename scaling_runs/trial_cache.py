"""What timed trials gave on this machine, kept on disk, so that a sweep planned twice is timed once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from models.native.library import processor
from scaling_runs.files import whole_file
from scaling_runs.spec import CellSpec

ROOT = Path(__file__).parents[1]
TIMED = ("models", "scaling_runs")
"""Packages whose code decides how long a step takes: trials of other code are not believed."""


class TrialCache:
    """Seconds (a step, an evaluated token) by machine, code, threads, shape, batch, optimiser and precision."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads = path, threads
        self.known = _read(path)

    def get(self, spec: CellSpec) -> tuple[float, float] | None:
        found = self.known.get(self._key(spec))
        return (found[0], found[1]) if found else None

    def put(self, spec: CellSpec, seconds: tuple[float, float]) -> None:
        """Keep `seconds` for as long as the file is there. Trials that another process adds meanwhile may be lost."""
        self.known = _read(self.path) | self.known | {self._key(spec): list(seconds)}
        # where nothing can be kept a plan takes a second longer the next time, and is no worse
        with suppress(OSError), whole_file(self.path) as file:
            file.write(json.dumps(self.known, indent=0, sort_keys=True).encode())

    def _key(self, spec: CellSpec) -> str:
        timed = {
            "machine": machine_digest(),
            "threads": self.threads,
            "shape": dataclasses.asdict(spec.shape),
            "seq_len": spec.seq_len,
            "batch": spec.recipe.batch_size,
            "optimizer": spec.recipe.optimizer,
            "precision": spec.precision,
        }
        return hashlib.sha256(json.dumps(timed, sort_keys=True).encode()).hexdigest()[:24]


@cache
def machine_digest() -> str:
    """Processor, torch and the code that is timed."""
    digest = hashlib.sha256(f"{processor()}\0{torch.__version__}".encode())
    for package in TIMED:
        for path in sorted((ROOT / package).rglob("*.[pch]*")):
            if path.suffix in (".py", ".c", ".h"):
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """The trials in a file; none where it is missing or damaged, for they can be made again."""
    try:
        known = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
