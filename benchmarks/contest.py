"""Contestants of a benchmark of steps: processes that train in their own loops and take turns."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.peers.turns import Task
from scaling_runs.data import Batches, Corpus
from scaling_runs.spec import CellSpec

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
PEERS_ENV = ROOT / "benchmarks" / ".peers"
TURN_S, WARMUP_S = 1.0, 4.0
"""Seconds of a turn, which has one step at least, and of the steps before the first."""
MIN_WARMUP, MAX_WARMUP = 3, 20
TYPICAL_FLOPS_PER_S = 3e10
WINDOWS = 4096


@dataclass(frozen=True)
class Contestant:
    """A process that takes turns."""

    name: str
    command: list[str]
    task: Task
    spec: CellSpec
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that its process has beside ours."""

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.spec.precision


def task_of(spec: CellSpec, corpus: Corpus, folder: Path) -> Task:
    """What a contestant is told of a cell; its text is written into `folder`."""
    shape, recipe = spec.shape, spec.recipe
    step_s = spec.flops / spec.steps / TYPICAL_FLOPS_PER_S
    batches = Batches(corpus, spec.seq_len, 64, seed=0)
    np.save(
        folder / "windows.npy",
        np.concatenate([batches.batch(i) for i in range(WINDOWS // 64)]).astype(np.uint16),
    )
    return Task(
        width=shape.width,
        depth=shape.depth,
        heads=shape.heads,
        mlp_width=shape.mlp_width,
        vocab_size=shape.vocab_size,
        rope_theta=shape.rope_theta,
        seq_len=spec.seq_len,
        batch=recipe.batch_size,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        clip=recipe.clip,
        threads=1,
        precision=spec.precision,
        steps=max(1, round(TURN_S / step_s)),
        warmup=min(MAX_WARMUP, max(MIN_WARMUP, round(WARMUP_S / step_s))),
        windows=str(folder / "windows.npy"),
    )


def task_json(task: Task) -> str:
    """For a contestant's command line."""
    return json.dumps(dataclasses.asdict(task))


@contextmanager
def started(contestant: Contestant) -> Iterator[subprocess.Popen[str]]:
    """The process, warmed up; it ends when nobody asks any more."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            contestant.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, **contestant.env},
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            if "ready\n" not in process.stdout:  # past what a peer's imports print
                said.seek(0)
                raise SystemExit(f"{contestant.name} did not start:\n{said.read()}")
            yield process
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def turn(process: subprocess.Popen[str]) -> float:
    """Seconds that it took for the steps of its turn."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def peers_python() -> str:
    """The interpreter of the peers' environment, which is made where it is not there."""
    python = PEERS_ENV / "bin" / "python"
    ready = PEERS_ENV / ".ready"
    if not ready.exists():
        print(f"installing the peers into {PEERS_ENV.relative_to(ROOT)}", file=sys.stderr)
        venv.create(PEERS_ENV, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--requirement", PEERS / "requirements.txt"],
            check=True,
        )
        ready.touch()
    return str(python)
