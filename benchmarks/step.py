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
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.contest import PEERS, Contestant, peers_python, started, task_json, task_of, turn  # noqa: E402
from benchmarks.limits import shape_limit_s  # noqa: E402
from benchmarks.where import where_time_goes  # noqa: E402
from models.flops import params  # noqa: E402
from scaling_runs.data import Corpus  # noqa: E402
from scaling_runs.data.prepare import prepare  # noqa: E402
from scaling_runs.hardware import measured_matmul_flops_per_s  # noqa: E402
from scaling_runs.plan import CorpusSize, plan_single  # noqa: E402
from scaling_runs.spec import CellSpec, Precision, spec_json  # noqa: E402
from tests.configs import config_of  # noqa: E402

NO_COMPILER = "ours, no C compiler"
"""Its process finds none on its PATH."""
ROUNDS = 7
RECIPES = {"adamw": "adamw", "muon": "cosine"}
"""Where each optimiser's rates are."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


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
    python = peers_python()
    results = []
    for width in options.widths:
        specs = {
            (precision, recipe): spec_of_width(corpus, width, recipe, precision)
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


def spec_of_width(corpus: Corpus, width: int, recipe: str, precision: Precision) -> CellSpec:
    """The cell of `width` at the budget whose expected optimum it is, in the batch that `recipe=cosine` has there."""
    sweep = config_of("sweep=isoflop_small").sweep
    assert sweep is not None
    shape = config_of().model.ladder(corpus.vocab_size).shape(width)
    size = params(shape, config_of().model.seq_len, "no_embedding")
    budget = sweep.expected_at_flops * (size / sweep.expected_params) ** (1 / sweep.expected_exponent)
    rule = config_of("recipe=cosine").recipe
    batch = [
        f"recipe.batch_{name}={getattr(rule, f'batch_{name}')}" for name in ("tokens", "flops", "exponent")
    ]
    config = config_of(f"recipe={RECIPES[recipe]}", f"budget={budget}", f"model.width={width}", *batch)
    return plan_single(config, CorpusSize.of(corpus), precision).cells[0].spec


def _contestants(
    python: str, adamw: CellSpec, muon: CellSpec, corpus: Corpus, folder: Path
) -> list[Contestant]:
    task = task_of(adamw, corpus, folder)
    peers = [("Trainer", "trainer.py"), ("litgpt, compiled", "litgpt_pretrain.py")]
    of_peers = [
        Contestant(name, [python, str(PEERS / script), task_json(task)], task, adamw)
        for name, script in peers
    ]
    ours = [("ours", adamw), ("ours, Muon", muon)]
    if adamw.precision == "fp32":
        ours.append((NO_COMPILER, adamw))
    return of_peers + [
        Contestant(
            name,
            [sys.executable, str(PEERS / "ours.py"), task_json(task), spec_json(spec)],
            task,
            spec,
            {"PATH": ""} if name == NO_COMPILER else {},
        )
        for name, spec in ours
    ]


def _compete(contestants: list[Contestant], specs: list[CellSpec]) -> Outcome:
    """All take turns; `specs` are the cell in each precision, whose limits are measured among the turns."""
    turns: dict[tuple[str, str], list[float]] = {one.key: [] for one in contestants}
    limits: dict[str, list[float]] = {spec.precision: [] for spec in specs}
    peaks: dict[str, list[float]] = {spec.precision: [] for spec in specs}
    with ExitStack() as stack:
        running = [(one, stack.enter_context(started(one))) for one in contestants]
        for _ in range(ROUNDS):
            for one, process in running:
                turns[one.key].append(turn(process) / one.task.steps)
            for spec in specs:
                limits[spec.precision].append(shape_limit_s(spec))
                peaks[spec.precision].append(measured_matmul_flops_per_s("cpu", spec.precision))
    return Outcome(
        {spec.precision: spec for spec in specs},
        {key: float(np.median(times)) for key, times in turns.items()},
        {key: float(np.median(times)) for key, times in limits.items()},
        {key: float(np.median(times)) for key, times in peaks.items()},
    )


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
            spec = spec_of_width(corpus, width, "muon", precision)
            shares = where_time_goes(spec, corpus)
            print(
                f"{spec.shape.name}, {precision}, {spec.batch_tokens} tokens a step: "
                + ", ".join(f"{part} {share:.1%}" for part, share in shares.items()),
                flush=True,
            )


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
