"""Who watches a sweep: a bar in FLOPs on a terminal, a quiet line a cell elsewhere. Reads the store, asks no worker."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from scaling_runs.cell import Cell
from scaling_runs.errors import StoreLost
from scaling_runs.numbers import duration
from scaling_runs.outages import impatient
from scaling_runs.ranks import rank
from scaling_runs.store import Store

LOOK_EVERY_S = 1.0
MAX_LOOK_SHARE = 0.05
"""Of the time: a look at thousands of cells takes long, and is taken seldomer."""


@contextmanager
def watching(store: Store, cells: Sequence[Cell]) -> Iterator[None]:
    """Show how `cells` come along while the body runs."""
    if rank() != 0:
        yield
        return
    watch = _Watch(store, cells)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.stop.set()
        thread.join()


@dataclass(frozen=True)
class _Ended:
    """A cell that came to its end, and how."""

    cell: Cell
    number: int
    """Cells that have ended with this one."""
    outcome: str
    failed: bool


class _Watch:
    def __init__(self, store: Store, cells: Sequence[Cell]) -> None:
        self.store, self.cells = store, cells
        self.stop = threading.Event()
        self.open = {cell.cell_id: cell for cell in cells}
        self.begun = dict.fromkeys(self.open, 0.0)
        """FLOPs that each open cell has spent."""
        self.ended_flops = 0.0
        self.total = float(sum(cell.trained_flops for cell in cells))
        """FLOPs to spend, less those that failed cells leave unspent."""
        self.failed_before = {cell_id: store.cell(cell_id).failed_at() for cell_id in self.open}
        self.started = time.monotonic()
        self.look()  # cells of earlier runs count as done, and say nothing
        self.at_start = self.done_flops()

    def run(self) -> None:
        bar = tqdm(
            total=self.total,
            initial=self.at_start,
            unit="FLOP",
            unit_scale=True,
            desc="training",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        with bar, impatient():
            look_s = 0.0
            while not self.stop.wait(max(LOOK_EVERY_S, look_s / MAX_LOOK_SHARE)):
                started = time.monotonic()
                self.show(bar)
                look_s = time.monotonic() - started
            self.show(bar)

    def show(self, bar: tqdm) -> None:
        for ended in self.look():
            if bar.disable:
                print(f"{self.line(ended)}; {self.share()}", flush=True)
            elif ended.failed:
                bar.write(self.line(ended), file=sys.stderr)
            else:
                bar.set_postfix_str(f"{ended.cell.spec.shape.name} {ended.outcome}", refresh=False)
        if not bar.disable:
            bar.total, bar.n = self.total, self.done_flops()
            bar.refresh()

    def look(self) -> list[_Ended]:
        """Cells that ended since the last look."""
        ended = []
        for cell in list(self.open.values()):
            try:
                one = self._look_at(cell)
            except StoreLost:  # whoever trains says so
                break
            if one is not None:
                ended.append(one)
        return ended

    def _look_at(self, cell: Cell) -> _Ended | None:
        """How it ended, where it did."""
        cell_id = cell.cell_id
        folder = self.store.cell(cell_id)
        status = folder.status()
        if status == "waiting":
            return None
        # before the result: a cell that ends drops its progress
        self.begun[cell_id] = folder.progress_flops(spared=cell.spec.flops - cell.trained_flops)
        result, failed_at = folder.result(), folder.failed_at()
        if result is not None:
            outcome = f"loss {result['loss']:.4f} in {duration(result['wall_s'])}"
            self.ended_flops += cell.trained_flops
        elif failed_at is not None and failed_at != self.failed_before[cell_id]:
            outcome = f"failed: {_first_line(folder.failure())}"
            self.ended_flops += self.begun[cell_id]
            self.total -= cell.trained_flops - self.begun[cell_id]
        else:
            return None
        del self.open[cell_id], self.begun[cell_id]
        return _Ended(cell, len(self.cells) - len(self.open), outcome, failed=result is None)

    def line(self, ended: _Ended) -> str:
        cell = ended.cell
        name = f"{cell.budget:.3g} FLOPs, {cell.spec.shape.name}, seed {cell.spec.seed}"
        return f"[{ended.number}/{len(self.cells)}] {name}: {ended.outcome}"

    def share(self) -> str:
        share = self.done_flops() / self.total if self.total else 1.0
        return f"{share:.0%} of the FLOPs, {self.time_left()} left"

    def done_flops(self) -> float:
        return self.ended_flops + sum(self.begun.values())

    def time_left(self) -> str:
        to_do = self.total - self.done_flops()
        done = self.done_flops() - self.at_start
        if done <= 0 < to_do:
            return "unknown time"
        return duration(to_do / done * (time.monotonic() - self.started) if to_do > 0 else 0)


def _first_line(reason: str | None) -> str:
    return (reason or "no reason is recorded").splitlines()[0]
