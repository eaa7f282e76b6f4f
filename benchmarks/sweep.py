"""What a whole sweep costs: this project, beside the plain way to get the same table.

    python benchmarks/sweep.py                       # isoflop_small; a quarter of an hour on two idle cores
    python benchmarks/sweep.py --sweep isoflop_tiny

The plain way trains each cell from nothing, in a process of its own, one after another, at the speed of transformers'
Trainer on one core or on all, in fp32 or in the sweep's own precision, whichever is faster. What it would take is
reckoned from the start of such a process and a few steps of each shape and batch, for to run it all would take an hour;
its evaluations are left out, in its favour.

Ours is run, in a store of its own. Cores are busy by the system's own count, from the first cell's beginning to the
last one's end; so nothing else may run on the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.contest import PEERS, Contestant, peers_python, started, task_json, task_of, turn  # noqa: E402
from scaling_runs.data import Corpus  # noqa: E402
from scaling_runs.data.prepare import prepare  # noqa: E402
from scaling_runs.hardware import available_cores  # noqa: E402
from scaling_runs.plan import CorpusSize, Plan, plan_sweep  # noqa: E402
from scaling_runs.spec import CellSpec  # noqa: E402
from scaling_runs.store import Store  # noqa: E402
from scaling_runs.sweep_record import read_plan  # noqa: E402
from tests.configs import config_of  # noqa: E402

LOOK_EVERY_S = 0.2
TURNS = 3


@dataclass(frozen=True)
class Ours:
    """A sweep that ran."""

    wall_s: float
    """Of the whole command, from its start to its report."""
    cells_s: float
    """From the first cell's beginning to the last one's end."""
    busy: float
    """Share of all cores' time that was used meanwhile."""
    training: float
    """Share of it in which cells' steps ran, evaluations apart."""


def main() -> None:
    options = _options()
    config = config_of(f"sweep={options.sweep}")
    corpus = prepare(config.data)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(options.store or Path(folder))
        ours = _run_ours(options.sweep, store)
        precision = store.cell(read_plan(store.sweep_folder(options.sweep))[0].cell_id).spec().precision
        plan = plan_sweep(config, CorpusSize.of(corpus), precision)
        start_s, training_s = _plain(plan, corpus, Path(folder))
    plain_s = training_s + start_s * len(plan.cells)
    cores = available_cores()
    print(f"\n{options.sweep}: {len(plan.cells)} cells, {cores} cores")
    print(f"{'':>34} {'FLOPs':>9} {'wall':>8}  ours over it")
    plain = f"the plain way ({start_s:.1f} s a start)"
    print(f"{plain:>34} {plan.flops_without_trunks:>9.3g} {plain_s:>7.0f}s {ours.wall_s / plain_s:>13.2f}")
    print(f"{f'ours, {precision}':>34} {plan.flops:>9.3g} {ours.wall_s:>7.0f}s {1:>13.2f}")
    print(
        f"cores busy from the first cell to the last: {ours.busy:.1%}; in steps of training: {ours.training:.1%}; "
        f"{ours.wall_s - ours.cells_s:.0f} s before and after"
    )
    result = {"plain_s": plain_s, "start_s": start_s, **vars(ours), "flops": plan.flops}
    print(json.dumps({"benchmark": "sweep", "sweep": options.sweep, **result}))


def _run_ours(sweep: str, store: Store) -> Ours:
    command = [sys.executable, str(ROOT / "launch.py"), f"sweep={sweep}", f"store={store.root}"]
    begun = time.monotonic()
    looks: list[tuple[float, float, float]] = []
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            if any((store.root / "cells").glob("*/progress.json")):
                looks.append((time.monotonic(), *_core_seconds()))
            time.sleep(LOOK_EVERY_S)
    finally:
        process.terminate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    wall_s = time.monotonic() - begun
    (first_at, first_busy, first_all), (last_at, last_busy, last_all) = looks[0], looks[-1]
    results = [store.cell(cell.cell_id).result() for cell in read_plan(store.sweep_folder(sweep))]
    training_s = sum(result["wall_s"] for result in results if result is not None)
    return Ours(
        wall_s=wall_s,
        cells_s=last_at - first_at,
        busy=(last_busy - first_busy) / (last_all - first_all),
        training=training_s / (last_all - first_all),
    )


def _core_seconds() -> tuple[float, float]:
    """Seconds of all cores since the machine's start, (used, all), by /proc/stat."""
    user, nice, system, idle, iowait, *rest = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    used = user + nice + system + sum(rest[:2])
    return used / 100, (used + idle + iowait) / 100


def _plain(plan: Plan, corpus: Corpus, folder: Path) -> tuple[float, float]:
    """(seconds of a process's start, seconds of all cells' steps), each shape in whichever way is the fastest."""
    step_s: dict[tuple[object, int], float] = {}
    starts = []
    for cell in plan.cells:
        key = (cell.spec.shape, cell.spec.recipe.batch_size)
        if key not in step_s:
            specs = [replace(cell.spec, precision=precision) for precision in {"fp32", cell.spec.precision}]
            ways = [(spec, threads) for spec in specs for threads in {1, available_cores()}]
            timed = [_trainer_s(spec, corpus, folder, threads) for spec, threads in ways]
            step_s[key] = min(one_step_s for one_step_s, _ in timed)
            starts += [start_s for _, start_s in timed]
    training_s = sum(
        cell.spec.steps * step_s[cell.spec.shape, cell.spec.recipe.batch_size] for cell in plan.cells
    )
    return min(starts), training_s


def _trainer_s(spec: CellSpec, corpus: Corpus, folder: Path, threads: int) -> tuple[float, float]:
    """(seconds a step, seconds until its process is ready) of the Trainer on `threads`."""
    task = replace(task_of(spec, corpus, folder), threads=threads, warmup=1)
    command = [peers_python(), str(PEERS / "trainer.py"), task_json(task)]
    begun = time.monotonic()
    with started(Contestant("Trainer", command, task, spec)) as process:
        start_s = time.monotonic() - begun
        return min(turn(process) for _ in range(TURNS)) / task.steps, start_s


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweep", default="isoflop_small")
    parser.add_argument("--store", type=Path, help="an empty folder to keep the runs in; by default they go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
