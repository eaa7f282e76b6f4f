"""Where the time of a step goes: each call of its schedule by the clock, in the step itself."""

from __future__ import annotations

import itertools
import time
from collections import Counter

from benchmarks.limits import name_of
from models.factory import build_model
from models.loss import NextTokenLoss
from scaling_runs.data import Batches, Corpus
from scaling_runs.optim import build_optimizers
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.train import TrainStep

FOR_S = 3.0
PARTS = {
    "mm": "products",
    "addmm_": "products",
    "attention": "attention",
    "attention_backward": "attention",
    "add_norm": "norms",
    "norm_backward": "norms",
    "swiglu": "SwiGLU",
    "swiglu_backward": "SwiGLU",
    "cross_entropy": "cross-entropy",
}
"""What is not named here is the rest: batches, embedding, clipping, narrowing, and the Python between the calls."""


def where_time_goes(spec: CellSpec, corpus: Corpus) -> dict[str, float]:
    """Shares of a step by part, the largest first; {} where no native code trains the cell."""
    model = build_model(spec.shape, seq_len=spec.seq_len, seed=0, init_std=spec.recipe.init_std)
    step = TrainStep(
        NextTokenLoss(model), build_optimizers(model, spec.recipe), spec, Runtime(precision=spec.precision)
    )
    if step.native is None:
        return {}
    batches = Batches(corpus, spec.seq_len, spec.recipe.batch_size, seed=0)
    done = itertools.count()

    def train() -> None:
        at = next(done)
        step(batches.batch(at), min(at, spec.steps - 1))

    train()
    spent: Counter[str] = Counter()
    for schedule in step.native.schedules.values():
        schedule.calls = [_timed(call, PARTS.get(name_of(call), "rest"), spent) for call in schedule.calls]
    for optimizer in step.optimizers:
        optimizer.step = _timed(optimizer.step, "optimiser", spent)  # type: ignore[method-assign]
    started = time.perf_counter()
    while time.perf_counter() - started < FOR_S:
        train()
    total = time.perf_counter() - started
    spent["rest"] = total - sum(seconds for part, seconds in spent.items() if part != "rest")
    return {part: seconds / total for part, seconds in spent.most_common()}


def _timed(call, part: str, spent: Counter[str]):  # type: ignore[no-untyped-def]
    def timed(*arguments: object) -> object:
        started = time.perf_counter()
        result = call(*arguments)
        spent[part] += time.perf_counter() - started
        return result

    return timed
