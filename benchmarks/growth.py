"""How a sweep grows: 100, 1,000 and 10,000 cells through the real sweeper. Nothing is trained.

    python benchmarks/growth.py [CELLS …]

A cell's result is that of Hoffmann's surface (`tests/simulated.py`), written into the store as a worker writes it. A
table for people, then one JSON line; each size in a process of its own, whose peak of memory is its own.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scaling_runs.cell import Cell  # noqa: E402
from scaling_runs.conclusion import conclude  # noqa: E402
from scaling_runs.config import Config  # noqa: E402
from scaling_runs.launchers import ONE_BY_ONE  # noqa: E402
from scaling_runs.monitor import _Watch  # noqa: E402
from scaling_runs.planning import make_plan  # noqa: E402
from scaling_runs.store import Store  # noqa: E402
from scaling_runs.sweeper import Training, run_sweep  # noqa: E402
from tests.configs import config_of  # noqa: E402
from tests.simulated import Surface  # noqa: E402

GRIDS = {100: (5, 10, 2), 1_000: (10, 20, 5), 10_000: (20, 20, 25)}
"""Cells: (budgets, sizes, seeds)."""
T = TypeVar("T")
LIMITS = {"plan_s": 10, "resume_scan_s": 10, "peak_mb": 1000, "status_s": 2}


def config_for(cells: int, folder: Path) -> Config:
    """A sweep of so many cells of a GPU's size, on a text that is written here."""
    budgets, sizes, seeds = GRIDS[cells]
    text = folder / "text.jsonl"
    text.write_text("".join(json.dumps({"text": f"{i} " * 300}) + "\n" for i in range(2_000)))
    flops = ",".join(f"{1e17 * 1.3**i:.6g}" for i in range(budgets))
    return config_of(
        "sweep=isoflop_small",
        "sweep.name=growth",
        "model=llama_small",
        "data=text_files",
        f"data.paths=[{text}]",
        f"data.cache_dir={folder / 'cache'}",
        "data.val_fraction=0.1",
        "val_tokens=8192",
        f"sweep.budgets=[{flops}]",
        f"sweep.sizes={sizes}",
        f"sweep.seeds=[{seeds}]",
        "sweep.expected_params=4e7",
        "sweep.expected_at_flops=1e17",
        "precision=fp32",
        "tracking=off",
        f"store={folder / 'store'}",
    )


def finish(store: Store, cell: Cell) -> None:
    """As a worker ends a cell, less its training."""
    spec = cell.spec
    loss = float(Surface().loss(float(cell.params), float(spec.tokens)))
    store.cell(cell.cell_id).write_result(
        {
            "run_id": cell.cell_id,
            "flops": spec.flops,
            "params": cell.params,
            "tokens": spec.tokens,
            "loss": loss + 1e-4 * spec.seed,
            "seed": spec.seed,
            "width": spec.shape.width,
            "lr": spec.recipe.lr,
            "wall_s": 1.0,
            "status": "finished",
        }
    )


def measure(cells: int) -> dict[str, float]:
    """Seconds and megabytes of each part, in this process."""
    found: dict[str, float] = {"cells": cells}

    def timed(name: str, act: Callable[[], T]) -> T:
        started = time.monotonic()
        value = act()
        found[name] = round(time.monotonic() - started, 3)
        return value

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        config = config_for(cells, Path(folder))
        make_plan(config)  # the corpus is prepared and the machine timed, which cells have no part in
        planned = timed("plan_s", lambda: make_plan(config))
        plan = planned.plan
        assert len(plan.cells) == cells
        store = Store(Path(config.store))
        by_id = {cell.cell_id: cell for cell in plan.cells}

        def launch(cell_ids: Sequence[str]) -> list[None]:
            timed("results_s", lambda: [finish(store, by_id[cell_id]) for cell_id in cell_ids])
            return [None] * len(cell_ids)

        timed("sweep_s", lambda: run_sweep(config, launch))
        timed("resume_scan_s", lambda: Training(config, store, launch, ONE_BY_ONE)(planned))
        timed("conclude_s", lambda: conclude(config, plan, store, store.sweep_folder(plan.name), wall_s=1.0))
        for cell in plan.cells:
            (store.cell(cell.cell_id).path / "result.json").unlink()
        timed("look_s", _Watch(store, plan.cells).look)
        status = [sys.executable, "-m", "scaling_runs", "status", "growth", f"store={config.store}"]
        timed("status_s", lambda: subprocess.run(status, cwd=ROOT, check=True, capture_output=True))
    found["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return found


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or list(GRIDS)
    if os.environ.get("GROWTH_ALONE"):
        print(json.dumps(measure(sizes[0])))
        return
    rows = []
    for size in sizes:
        alone = [sys.executable, __file__, str(size)]
        env = {**os.environ, "GROWTH_ALONE": "1"}
        told = subprocess.run(alone, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(json.loads(told.splitlines()[-1]))
    names = list(rows[0])
    print("".join(f"{name:>13}" for name in names))
    for row in rows:
        print("".join(f"{row.get(name, ''):>13}" for name in names))
    print(json.dumps({"machine": platform.processor() or platform.machine(), "limits": LIMITS, "rows": rows}))


if __name__ == "__main__":
    main()
