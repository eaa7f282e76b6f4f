"""What a training step costs on one CPU thread: this project, its peers, and the limit of the machine.

    python benchmarks/step.py                        # widths 32, 64, 128 and 256; some ten minutes
    python benchmarks/step.py --widths 16 112 --budget 2.9e12

The peers, transformers' Trainer and litgpt's pre-training, are installed once into benchmarks/.peers and run there.
All train the same shape on the same text in the same batch, precision and threads, each in a process and a loop of its
own, and take a few steps in turn, so that a machine whose speed drifts slows all alike; a figure is the median turn.

Two limits are measured among the turns. `peak`: large square matrix products. `limit`: the shape's own, its step's
products and its attention, forward and backward, each run alone in a loop: what a step would take if nothing else
were to do, no norm, no nonlinearity, no optimiser.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.peers.turns import Task  # noqa: E402
from scaling_runs.data import Batches, Corpus  # noqa: E402
from scaling_runs.data.prepare import prepare  # noqa: E402
from scaling_runs.hardware import measured_matmul_flops_per_s  # noqa: E402
from scaling_runs.plan import CorpusSize, plan_single  # noqa: E402
from scaling_runs.spec import CellSpec, spec_json  # noqa: E402
from tests.configs import config_of  # noqa: E402

PEERS = ROOT / "benchmarks" / "peers"
PEERS_ENV = ROOT / "benchmarks" / ".peers"
ROUNDS = 15
TURN_S = 1.0
"""Steps of a turn take about this long."""
WARMUP = 20
WINDOWS = 4096
REPEATS = 20


@dataclass(frozen=True)
class Contestant:
    """A process that takes turns."""

    name: str
    command: list[str]


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    python = _peers_python()
    print(f"one thread, fp32; peak {measured_matmul_flops_per_s('cpu', 'fp32') / 1e9:.0f} GFLOP/s")
    results = []
    for width in options.widths:
        corpus = prepare(config_of().data)
        muon = _spec(corpus, width, options.budget, "muon")
        adamw = _spec(corpus, width, options.budget, "adamw", batch_tokens=muon.batch_tokens)
        with tempfile.TemporaryDirectory() as folder:
            task = _task(adamw, corpus, Path(folder))
            contestants = [
                Contestant("Trainer", [python, str(PEERS / "trainer.py"), _json(task)]),
                Contestant("litgpt", [python, str(PEERS / "litgpt_pretrain.py"), _json(task)]),
                _ours("our loop, transformers' pass", task, adamw, "transformers"),
                _ours("ours", task, adamw, "written"),
                _ours("ours, Muon", task, muon, "written"),
            ]
            seconds, limit_s, peak = _compete(contestants, task, adamw)
        results.append(_report(adamw, muon, seconds, limit_s, peak))
    print(json.dumps({"benchmark": "step", "results": results}))


def _spec(
    corpus: Corpus, width: int, budget: float, recipe: str, batch_tokens: int | None = None
) -> CellSpec:
    """The cell of the recipe; `batch_tokens` makes another recipe's batch its own."""
    batch = (
        [f"recipe.batch_tokens={batch_tokens}", "recipe.batch_exponent=0"] if batch_tokens is not None else []
    )
    config = config_of(f"recipe={recipe}", f"budget={budget}", f"model.width={width}", *batch)
    return plan_single(config, CorpusSize.of(corpus), "fp32").cells[0].spec


def _task(spec: CellSpec, corpus: Corpus, folder: Path) -> Task:
    shape, recipe = spec.shape, spec.recipe
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
        steps=max(5, round(TURN_S * 2e10 / (spec.flops / spec.steps))),
        warmup=WARMUP,
        windows=str(folder / "windows.npy"),
    )


def _json(task: Task) -> str:
    return json.dumps(dataclasses.asdict(task))


def _ours(name: str, task: Task, spec: CellSpec, way: str) -> Contestant:
    return Contestant(name, [sys.executable, str(PEERS / "ours.py"), _json(task), spec_json(spec), way])


def _compete(
    contestants: list[Contestant], task: Task, spec: CellSpec
) -> tuple[dict[str, float], float, float]:
    """Seconds a step of each, the shape's limit in seconds, and the peak in FLOPs per second: medians over rounds."""
    turns: dict[str, list[float]] = {one.name: [] for one in contestants}
    limits, peaks = [], []
    with ExitStack() as stack:
        started = {one.name: stack.enter_context(_started(one)) for one in contestants}
        for _ in range(ROUNDS):
            for name, process in started.items():
                turns[name].append(_turn(process) / task.steps)
            limits.append(shape_limit_s(spec))
            peaks.append(measured_matmul_flops_per_s("cpu", "fp32"))
    return (
        {name: float(np.median(times)) for name, times in turns.items()},
        float(np.median(limits)),
        float(np.median(peaks)),
    )


@contextmanager
def _started(contestant: Contestant) -> Iterator[subprocess.Popen[str]]:
    """The process, warmed up; it ends when nobody asks any more."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            contestant.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
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


def shape_limit_s(spec: CellSpec) -> float:
    """Seconds of the step's matrix products and attention, forward and backward, each alone in a loop."""
    shape, tokens = spec.shape, spec.batch_tokens
    width, mlp = shape.width, shape.mlp_width
    products = {
        (width, 3 * width): shape.depth,
        (width, width): shape.depth,
        (width, 2 * mlp): shape.depth,
        (mlp, width): shape.depth,
        (width, shape.vocab_size): 1,
    }
    total = shape.depth * _attention_s(spec)
    for (inner, outer), times in products.items():
        x, weight, dy = torch.randn(tokens, inner), torch.randn(outer, inner), torch.randn(tokens, outer)
        y, dx, dw = torch.empty_like(dy), torch.empty_like(x), torch.empty_like(weight)
        total += times * (
            _seconds(lambda x=x, w=weight, y=y: torch.mm(x, w.T, out=y))
            + _seconds(lambda d=dy, w=weight, o=dx: torch.mm(d, w, out=o))
            + _seconds(lambda d=dy, x=x, o=dw: torch.mm(d.T, x, out=o))
        )
    return total


def _attention_s(spec: CellSpec) -> float:
    """One layer's: scores, softmax, values, and the way back; torch's own, by whichever way is faster."""
    shape = spec.shape
    sizes = (spec.recipe.batch_size, shape.heads, spec.seq_len, shape.width // shape.heads)
    q, k, v = (torch.randn(sizes, requires_grad=True) for _ in range(3))
    dy = torch.randn(sizes)

    def both() -> None:
        torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), dy)

    return _seconds(both)


def _seconds(call: Callable[[], object]) -> float:
    """The median of a few calls."""
    call()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def _report(
    adamw: CellSpec, muon: CellSpec, seconds: dict[str, float], limit_s: float, peak: float
) -> dict[str, object]:
    flops = adamw.flops / adamw.steps
    print(f"\n{adamw.shape.name}, {adamw.recipe.batch_size} x {adamw.seq_len} tokens a step")
    print(f"{'':>30}  thousand tokens/s   ms a step   ours over it   of its limit   of the peak")
    for name, step_s in seconds.items():
        print(
            f"{name:>30}  {adamw.batch_tokens / step_s / 1e3:>17.1f}  {1e3 * step_s:>10.2f}  "
            f"{step_s / seconds['ours']:>13.2f}  {limit_s / step_s:>13.0%}  {flops / step_s / peak:>12.0%}"
        )
    print(
        f"{'the limit of the shape':>30}  {adamw.batch_tokens / limit_s / 1e3:>17.1f}  {1e3 * limit_s:>10.2f}",
        flush=True,
    )
    return {
        "shape": adamw.shape.name,
        "batch_tokens": adamw.batch_tokens,
        "step_s": seconds,
        "limit_s": limit_s,
        "peak_flops_per_s": peak,
        "flops": flops,
    }


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
    parser.add_argument("--budget", type=float, default=1e12, help="FLOPs: sets the batch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
