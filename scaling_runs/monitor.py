"""Who watches a sweep: a bar in FLOPs on a terminal, a quiet line a cell elsewhere. Reads the store, asks no worker."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm

from scaling_runs.plan import Cell
from scaling_runs.report import duration
from scaling_runs.runtime import rank
from scaling_runs.store import Store

LOOK_EVERY_S = 1.0


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


class _Watch:
    def __init__(self, store: Store, cells: Sequence[Cell]) -> None:
        self.store, self.cells = store, cells
        self.stop = threading.Event()
        self.total = float(sum(cell.spec.flops for cell in cells))
        self.open = {cell.cell_id: cell for cell in cells}
        self.finished_flops = 0.0
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
        with bar:
            while not self.stop.wait(LOOK_EVERY_S):
                self.show(bar)
            self.show(bar)

    def show(self, bar: tqdm) -> None:
        for cell, line in self.look():
            if bar.disable:
                share = self.done_flops() / self.total
                print(f"{line}; {share:.0%} of the FLOPs, {self.time_left()} left", flush=True)
            else:
                bar.set_postfix_str(f"{cell.spec.shape.name} {line.split(': ')[1]}")
        bar.n = self.done_flops()
        bar.refresh()

    def look(self) -> list[tuple[Cell, str]]:
        """Cells that ended since the last look, each with a line."""
        ended = []
        for cell_id, cell in list(self.open.items()):
            folder = self.store.cell(cell_id)
            result = folder.result()
            if result is None:
                continue
            del self.open[cell_id]
            self.finished_flops += cell.spec.flops
            number = len(self.cells) - len(self.open)
            name = f"{cell.budget:.3g} FLOPs, {cell.spec.shape.name}, seed {cell.spec.seed}"
            outcome = f"loss {result['loss']:.4f} in {duration(result['wall_s'])}"
            ended.append((cell, f"[{number}/{len(self.cells)}] {name}: {outcome}"))
        return ended

    def done_flops(self) -> float:
        return self.finished_flops + sum(self.store.cell(cell_id).progress_flops() for cell_id in self.open)

    def time_left(self) -> str:
        done = self.done_flops() - self.at_start
        if done <= 0:
            return "unknown time"
        return duration((self.total - self.done_flops()) / done * (time.monotonic() - self.started))
