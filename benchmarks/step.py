"""What a training step costs on one CPU thread: this project, its peers, and the limit of the machine.

    python benchmarks/step.py                        # widths 32, 64, 128 and 256; a quarter of an hour
    python benchmarks/step.py --widths 16 112
    python benchmarks/step.py --profile              # where the time of our own steps goes

The peers, transformers' Trainer and litgpt's pre-training, are installed once into benchmarks/.peers and run there.
All train the same shape on the same text in the same batch, precision and threads, each in a process and a loop of its
own, and take a few steps in turn, so that a machine whose speed drifts slows all alike; a figure is the median turn.
The batch is the recipe's at the budget whose optimum isoflop_small expects at that size.

Two limits are measured among the turns, in each precision. `peak`: large square matrix products. `limit`: the shape's
own (`benchmarks/limits.py`), its step's products and its attention, forward and backward, each alone in a loop: what a
step would take if nothing else were to do, no norm, no nonlinearity, no optimiser.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.limits import shape_limit_s  # noqa: E402
from benchmarks.peers.turns import Task  # noqa: E402
from benchmarks.where import where_time_goes  # noqa: E402
from models.flops import params  # noqa: E402
from scaling_runs.data import Batches, Corpus  # noqa: E402
from scaling_runs.data.prepare import prepare  # noqa: E402
from scaling_runs.hardware import measured_matmul_flops_per_s  # noqa: E402
from scaling_runs.plan import CorpusSize, plan_single  # noqa: E402
from scaling_runs.spec import CellSpec, Precision, spec_json  # noqa: E402
from tests.configs import config_of  # noqa: E402

PEERS = ROOT / "benchmarks" / "peers"
PEERS_ENV = ROOT / "benchmarks" / ".peers"
NO_COMPILER = "ours, no C compiler"
"""Its process finds none on its PATH."""
ROUNDS = 7
TURN_S, WARMUP_S = 1.0, 4.0
"""Seconds of a turn, which has one step at least, and of the steps before the first."""
MIN_WARMUP, MAX_WARMUP = 3, 20
TYPICAL_FLOPS_PER_S = 3e10
WINDOWS = 4096
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


@dataclass(frozen=True)
class Contestant:
    """A process that takes turns."""

    name: str
    command: list[str]
    task: Task
    spec: CellSpec

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.spec.precision


@dataclass(frozen=True)
class Outcome:
    """Medians over the rounds, in each precision."""

    specs: dict[str, CellSpec]
    step_s: dict[tuple[str, str], float]
    limit_s: dict[str, float]
    peak_flops_per_s: dict[str, float]


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    corpus = prepare(config_of().data)
    if options.profile:
        _profile(options.widths, corpus)
        return
    python = _peers_python()
    results = []
    for width in options.widths:
        specs = {
            (precision, recipe): _spec(corpus, width, recipe, precision)
            for precision in PRECISIONS
            for recipe in ("adamw", "muon")
        }
        with tempfile.TemporaryDirectory() as folder:
            contestants = [
                one
                for precision in PRECISIONS
                for one in _contestants(
                    python, specs[precision, "adamw"], specs[precision, "muon"], corpus, Path(folder)
                )
            ]
            results.append(_report(_compete(contestants, [specs[p, "adamw"] for p in PRECISIONS])))
    print(json.dumps({"benchmark": "step", "results": results}))


def _spec(corpus: Corpus, width: int, recipe: str, precision: Precision) -> CellSpec:
    """The cell of `width` at the budget whose expected optimum it is, in the batch of isoflop_small's recipe there."""
    sweep = config_of("sweep=isoflop_small").sweep
    assert sweep is not None
    shape = config_of().model.ladder(corpus.vocab_size).shape(width)
    size = params(shape, config_of().model.seq_len, "no_embedding")
    budget = sweep.expected_at_flops * (size / sweep.expected_params) ** (1 / sweep.expected_exponent)
    rule = config_of("recipe=muon").recipe
    batch = [
        f"recipe.batch_{name}={getattr(rule, f'batch_{name}')}" for name in ("tokens", "flops", "exponent")
    ]
    config = config_of(f"recipe={recipe}", f"budget={budget}", f"model.width={width}", *batch)
    return plan_single(config, CorpusSize.of(corpus), precision).cells[0].spec


def _contestants(
    python: str, adamw: CellSpec, muon: CellSpec, corpus: Corpus, folder: Path
) -> list[Contestant]:
    task = _task(adamw, corpus, folder)
    peers = [("Trainer", "trainer.py"), ("litgpt, compiled", "litgpt_pretrain.py")]
    of_peers = [
        Contestant(name, [python, str(PEERS / script), _json(task)], task, adamw) for name, script in peers
    ]
    ours = [("ours", adamw), ("ours, Muon", muon)]
    if adamw.precision == "fp32":
        ours.append((NO_COMPILER, adamw))
    return of_peers + [
        Contestant(name, [sys.executable, str(PEERS / "ours.py"), _json(task), spec_json(spec)], task, spec)
        for name, spec in ours
    ]


def _task(spec: CellSpec, corpus: Corpus, folder: Path) -> Task:
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


def _json(task: Task) -> str:
    return json.dumps(dataclasses.asdict(task))


def _compete(contestants: list[Contestant], specs: list[CellSpec]) -> Outcome:
    """All take turns; `specs` are the cell in each precision, whose limits are measured among the turns."""
    turns: dict[tuple[str, str], list[float]] = {one.key: [] for one in contestants}
    limits: dict[str, list[float]] = {spec.precision: [] for spec in specs}
    peaks: dict[str, list[float]] = {spec.precision: [] for spec in specs}
    with ExitStack() as stack:
        started = [(one, stack.enter_context(_started(one))) for one in contestants]
        for _ in range(ROUNDS):
            for one, process in started:
                turns[one.key].append(_turn(process) / one.task.steps)
            for spec in specs:
                limits[spec.precision].append(shape_limit_s(spec))
                peaks[spec.precision].append(measured_matmul_flops_per_s("cpu", spec.precision))
    return Outcome(
        {spec.precision: spec for spec in specs},
        {key: float(np.median(times)) for key, times in turns.items()},
        {key: float(np.median(times)) for key, times in limits.items()},
        {key: float(np.median(times)) for key, times in peaks.items()},
    )


@contextmanager
def _started(contestant: Contestant) -> Iterator[subprocess.Popen[str]]:
    """The process, warmed up; it ends when nobody asks any more."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            contestant.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=os.environ | ({"PATH": ""} if contestant.name == NO_COMPILER else {}),
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            if process.stdout.readline() != "ready\n":
                said.seek(0)
                raise SystemExit(f"{contestant.name} did not start:\n{said.read()}")
            yield process
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def _turn(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def _report(outcome: Outcome) -> dict[str, object]:
    for precision, spec in outcome.specs.items():
        tokens, flops = spec.batch_tokens, spec.flops / spec.steps
        limit_s, peak = outcome.limit_s[precision], outcome.peak_flops_per_s[precision]
        print(
            f"\n{spec.shape.name}, {precision}, {spec.recipe.batch_size} x {spec.seq_len} tokens a step, the batch at "
            f"{spec.flops:.2g} FLOPs; peak {peak / 1e9:.0f} GFLOP/s"
        )
        print(f"{'':>22}  thousand tokens/s   ms a step   ours over it   of its limit   of the peak")
        for (name, of_precision), step_s in outcome.step_s.items():
            if of_precision == precision:
                print(
                    f"{name:>22}  {tokens / step_s / 1e3:>17.1f}  {1e3 * step_s:>10.2f}  "
                    f"{step_s / outcome.step_s['ours', precision]:>13.2f}  {limit_s / step_s:>13.0%}  "
                    f"{flops / step_s / peak:>12.0%}"
                )
        print(
            f"{'limit of the shape':>22}  {tokens / limit_s / 1e3:>17.1f}  {1e3 * limit_s:>10.2f}", flush=True
        )
    return {
        "shape": outcome.specs["fp32"].shape.name,
        "batch_tokens": outcome.specs["fp32"].batch_tokens,
        "budget": outcome.specs["fp32"].flops,
        "step_s": {f"{name}, {precision}": step_s for (name, precision), step_s in outcome.step_s.items()},
        "limit_s": outcome.limit_s,
        "peak_flops_per_s": outcome.peak_flops_per_s,
    }


def _profile(widths: list[int], corpus: Corpus) -> None:
    """Where the time of our own steps goes, with Muon."""
    for width in widths:
        for precision in PRECISIONS:
            spec = _spec(corpus, width, "muon", precision)
            shares = where_time_goes(spec, corpus)
            print(
                f"{spec.shape.name}, {precision}, {spec.batch_tokens} tokens a step: "
                + ", ".join(f"{part} {share:.1%}" for part, share in shares.items()),
                flush=True,
            )


def _peers_python() -> str:
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


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument(
        "--profile", action="store_true", help="where the time of our own steps goes, no peers"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
