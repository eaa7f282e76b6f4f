"""What a training step costs on one CPU thread: written out, and through transformers' own forward pass.

    python benchmarks/step.py --widths 16 32 64 112

Both ways take the same steps in turn, a few at a time, so that a machine whose speed drifts slows both; a figure is the
lower quartile. Prints milliseconds a step (forward, backward, clipping and optimiser, as a cell does it), the ratio of
the two, and the share of the machine's own matrix-product peak that was reached.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from models.factory import build_model  # noqa: E402
from models.loss import NextTokenLoss  # noqa: E402
from scaling_runs.data import Batches  # noqa: E402
from scaling_runs.data.prepare import prepare  # noqa: E402
from scaling_runs.hardware import measured_matmul_flops_per_s  # noqa: E402
from scaling_runs.optim import build_optimizers  # noqa: E402
from scaling_runs.plan import CorpusSize, plan_single  # noqa: E402
from scaling_runs.runtime import Runtime  # noqa: E402
from scaling_runs.spec import CellSpec  # noqa: E402
from scaling_runs.train import TrainStep  # noqa: E402
from tests.configs import config_of  # noqa: E402

ROUNDS, STEPS_A_ROUND = 30, 5


class ThroughTransformers(NextTokenLoss):
    """The loss as it would be without `models/llama_cpu.py`."""

    forward = NextTokenLoss.through_transformers


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    peak = measured_matmul_flops_per_s("cpu", "fp32")
    print(f"one thread, fp32, matrix-product peak {peak / 1e9:.0f} GFLOP/s")
    print("   shape   batch  transformers  written out   ratio  GFLOP/s  of peak")
    for width in options.widths:
        config = config_of(f"budget={options.budget}", f"model.width={width}", *options.options)
        corpus = prepare(config.data)
        spec = plan_single(config, CorpusSize.of(corpus), "fp32").cells[0].spec
        batches = Batches(corpus, spec.seq_len, spec.recipe.batch_size, seed=0)
        theirs, ours = _step_s(spec, batches)
        rate = spec.flops / spec.steps / ours
        print(
            f"{spec.shape.name:>10} {spec.batch_tokens:>5} {1e3 * theirs:>10.2f} ms {1e3 * ours:>9.2f} ms "
            f"{theirs / ours:>7.2f} {rate / 1e9:>8.1f} {rate / peak:>7.0%}",
            flush=True,
        )


def _step_s(spec: CellSpec, batches: Batches) -> tuple[float, float]:
    """Seconds a step: (through transformers, written out)."""
    ways = []
    for loss in (ThroughTransformers, NextTokenLoss):
        model = build_model(spec.shape, seq_len=spec.seq_len, seed=0, init_std=spec.recipe.init_std)
        step = TrainStep(loss(model), build_optimizers(model, spec.recipe), spec, Runtime())
        times: list[float] = []
        ways.append((step, times))
    for turn in range(ROUNDS):
        for step, times in ways:
            for i in range(turn * STEPS_A_ROUND, (turn + 1) * STEPS_A_ROUND):
                started = time.perf_counter()
                step(batches.batch(i), i)
                times.append(time.perf_counter() - started)
    theirs, ours = (sorted(times)[len(times) // 4] for _, times in ways)
    return theirs, ours


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 24, 32, 64, 112])
    parser.add_argument("--budget", type=float, default=1e12, help="FLOPs: sets the batch")
    parser.add_argument("--options", nargs="*", default=[], help="options of launch.py")
    return parser.parse_args()


if __name__ == "__main__":
    main()
