"""What a sweep takes beside the steps of its cells, by running one: the smoke test, in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.files import read_json
from scaling_runs.hardware import workers
from scaling_runs.store import Store
from scaling_runs.sweep_record import read_plan
from scaling_runs.trials import Trials

ROOT = Path(__file__).parents[2]
SWEEP = "isoflop_tiny"
SWEEPS = 2
"""Of which each figure is the least: whatever else the machine does only adds to it."""
PATIENCE_S = 1800.0


@dataclass(frozen=True)
class Overheads:
    start_s: float
    beside_s: float


class NoSweep(Exception):
    """It did not come to its end; the message says why."""


def measure_overheads(config: Config, options: list[str]) -> Overheads:
    """By runs of the smoke test with these data `options`. Raises NoSweep where one fails."""
    found = [_by_one(config, options) for _ in range(SWEEPS)]
    return Overheads(min(one.start_s for one in found), min(one.beside_s for one in found))


def _by_one(config: Config, options: list[str]) -> Overheads:
    with tempfile.TemporaryDirectory() as temporary:
        command = [
            sys.executable,
            str(ROOT / "launch.py"),
            f"sweep={SWEEP}",
            f"store={temporary}/results",
            f"data.cache_dir={config.data.cache_dir}",
            f"threads={config.threads}",
            *options,
        ]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise NoSweep(f"sweep={SWEEP} took longer than {PATIENCE_S:.0f} s") from None
        store = Store.at(f"{temporary}/results")
        record = store.sweep_folder(SWEEP) / "sweep.json"
        if ended.returncode != 0 or not record.exists():
            last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise NoSweep(f"sweep={SWEEP} ended with exit code {ended.returncode}: {last}")
        return _read_off(store, float(read_json(record)["launched_s"]), config)


def _read_off(store: Store, launched_s: float, config: Config) -> Overheads:
    """From when the first cell came to train to when the last had its result, less what their steps should take."""
    folders = [store.cell(cell.cell_id) for cell in read_plan(store.sweep_folder(SWEEP))]
    cells = [Cell(folder.spec(), 0.0, 0.0) for folder in folders]
    at_once = min(workers(), len(cells))
    trials = Trials(Path(config.data.cache_dir), config.threads, at_once)
    begun_s = min(folder.attempts_file.stat().st_mtime for folder in folders)
    ended_s = max((folder.path / "result.json").stat().st_mtime for folder in folders)
    training_s = ended_s - begun_s
    beside_s = (training_s * at_once - sum(trials.steps_s(cell) for cell in cells)) / len(cells)
    return Overheads(max(0.0, launched_s - training_s), max(0.0, beside_s))
