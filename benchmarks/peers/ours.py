"""This project's step on a cell's spec: python ours.py TASK SPEC."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from turns import start

from models.factory import build_model
from models.loss import NextTokenLoss
from scaling_runs.optim import build_optimizers
from scaling_runs.runtime import Runtime
from scaling_runs.spec import spec_from_dict
from scaling_runs.train import TrainStep


def main() -> None:
    _, turns = start()
    spec = spec_from_dict(json.loads(sys.argv[2]))
    model = build_model(spec.shape, seq_len=spec.seq_len, seed=0, init_std=spec.recipe.init_std)
    step = TrainStep(
        NextTokenLoss(model),
        build_optimizers(model, spec.recipe),
        spec,
        Runtime(precision=spec.precision),
    )
    for i, batch in enumerate(turns.batches()):
        step(batch, min(i, spec.steps - 1))


if __name__ == "__main__":
    main()
