"""`python launch.py …` as a user starts it: in a process of its own, on real text, on grids of a few seconds."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from tests.configs import ROOT
from tests.warm import run_warm

LAUNCH = [sys.executable, str(ROOT / "launch.py")]
GRID = [
    "sweep=isoflop_tiny",
    "recipe=wsd",
    "recipe.max_warmup_steps=3",
    "sweep.budgets=[5e8,1e9]",
    "sweep.sizes=3",
    "sweep.span=2.8",
    "sweep.expected_params=3e3",
    "sweep.expected_exponent=0",
    "recipe.batch_tokens=256",
    "recipe.lr=2e-2",
    "recipe.muon_lr=0.03",
]
"""Six cells of 34 to 340 steps on three trunks, whose two valleys have their minima inside."""
VAL_TOKENS = 129 * 64
"""So many windows that two ranks evaluate unequal numbers of chunks of 32."""
ANOTHER_BUDGET = "sweep.budgets=[5e8,1e9,7e8]"
ALONE = "hydra/launcher=basic"
"""Cells one after another in one process, which saves the seconds that workers need to start."""
TIMED = ("wall_s", "tokens_per_s", "mfu")
"""Columns of the run table that clocks fill in."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
PATIENCE_S = 240
T = TypeVar("T")


@dataclass(frozen=True)
class Ran:
    """A command that came to its end."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Sweep:
    """A sweep that ran, and its store."""

    ran: Ran
    store: Path

    @property
    def folder(self) -> Path:
        return self.store / "isoflop_tiny"

    def rows(self) -> list[dict[str, str]]:
        return rows(self.store)


def launch(*options: str, cwd: Path | None = None, program: Sequence[str] = LAUNCH, **env: str) -> Ran:
    """Run the command to its end; stdout and stderr are no terminals."""
    running = start(*options, cwd=cwd, program=program, **env)
    try:
        out, err = running.communicate(timeout=PATIENCE_S)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    return Ran(running.returncode, out, err)


def launch_warm(*options: str, cwd: Path | None = None, program: Path = Path(LAUNCH[1]), **env: str) -> Ran:
    """As `launch`, in a process whose libraries are loaded already: 6 to 8 seconds of a core less. Without W&B."""
    variables = {**os.environ, **OFFLINE, **env}
    return Ran(*run_warm(program, options, cwd or Path.cwd(), variables, PATIENCE_S))


def launch_ranks(ranks: int, *options: str, program: Path = Path(LAUNCH[1]), **env: str) -> list[Ran]:
    """Each rank's process, warm, with the variables that torchrun gives it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    group = {**env, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    with ThreadPoolExecutor(ranks) as pool:
        started = [
            pool.submit(launch_warm, *options, program=program, **group, RANK=str(rank), LOCAL_RANK=str(rank))
            for rank in range(ranks)
        ]
        return [one.result() for one in started]


def start(
    *options: str, cwd: Path | None = None, program: Sequence[str] = LAUNCH, **env: str
) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [*program, *options],
        cwd=cwd,
        env={**os.environ, **OFFLINE, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def side_by_side(*calls: Callable[[], T]) -> list[T]:
    """What each call returns, three at a time: a command spends seconds on its imports, on one core."""
    with ThreadPoolExecutor(3) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def torchrun(ranks: int) -> list[str]:
    """The program `torchrun --nproc-per-node=RANKS launch.py`, on a free port."""
    torch_run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    return [*torch_run, LAUNCH[1]]


def around(path: Path, lines: str) -> Path:
    """`path`, a program that is launch.py after these `lines`."""
    start = f"sys.argv[0] = {LAUNCH[1]!r}\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    path.write_text(f"import os, runpy, signal, sys\nsys.path.insert(0, {str(ROOT)!r})\n{lines}\n{start}")
    return path


def text_options(base: Path) -> list[str]:
    """Options for a megabyte of the standard library's sources, written below `base` once."""
    path = base / "launch-text" / "sources.jsonl"
    if not path.exists():
        library = Path(os.__file__).parent
        packages = ("asyncio", "email", "http", "json")
        sources = [source for name in packages for source in sorted((library / name).glob("*.py"))]
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps({"text": source.read_text()}) + "\n" for source in sources))
    return [
        "data=text_files",
        f"data.paths=[{path}]",
        f"data.cache_dir={path.parent / 'cache'}",
        "data.val_fraction=0.1",
        f"val_tokens={VAL_TOKENS}",
    ]


def grid(base: Path, store: Path) -> list[str]:
    """The small sweep on the small text, without W&B."""
    return [*GRID, *text_options(base), f"store={store}", "tracking=off"]


def one_cell(base: Path, store: Path) -> list[str]:
    """One cell of that sweep, of width 16 at 1e9 FLOPs, by itself."""
    options = [option for option in grid(base, store) if not option.startswith("sweep")]
    return [
        *options,
        "model.min_depth=1",
        "recipe.batch_exponent=0",
        "recipe.decay=linear",
        "budget=1e9",
        "model.width=16",
    ]


@cache
def reference(base: Path) -> Sweep:
    """The small sweep, once a session, uninterrupted."""
    store = base / "reference"
    return Sweep(launch(*grid(base, store)), store)


@cache
def extended(base: Path) -> Sweep:
    """Once a session, a copy of the small sweep to which a third budget was added, with W&B's offline logs."""
    store = base / "extended"
    shutil.copytree(reference(base).store, store)
    return Sweep(launch(*grid(base, store), ANOTHER_BUDGET, "tracking=offline"), store)


def rows(store: Path) -> list[dict[str, str]]:
    """The sweep's run table as it stands in the file."""
    with (store / "isoflop_tiny" / "runs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def untimed(table: list[dict[str, str]]) -> list[dict[str, str]]:
    """The table less what clocks fill in."""
    return [{column: value for column, value in row.items() if column not in TIMED} for row in table]


def results(store: Path) -> dict[str, int]:
    """When each finished cell of the store was written, in nanoseconds, by its id."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (store / "cells").glob("*/result.json")}


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until `condition` holds; fails where `process` ends first."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


def group_members(group: int) -> dict[int, str]:
    """Living processes of a process group, and their command lines."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,pgid=,stat=,args="], capture_output=True, text=True, check=True
    )
    members = (line.split(None, 3) for line in listed.stdout.splitlines())
    return {
        int(pid): arguments
        for pid, pgid, state, arguments in members
        if int(pgid) == group and not state.startswith("Z")
    }


def workers(group: int) -> list[int]:
    """joblib's worker processes in a process group."""
    return [pid for pid, command in group_members(group).items() if "LokyProcess" in command]
