"""What a recipe is worth: the loss of each choice at several sizes and budgets, on real text.

    python benchmarks/recipe.py --budgets 4.4e11 --widths 24 48 --try "recipe=adamw recipe.lr=3e-3" recipe=wsd

Cells are the project's own, kept in its store: a choice that was tried before costs nothing. Prints a table for people
(mean loss, and the standard deviation over seeds where there are several), then one JSON line for programs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scaling_runs.config import Config  # noqa: E402
from scaling_runs.data.prepare import prepare  # noqa: E402
from scaling_runs.hardware import workers  # noqa: E402
from scaling_runs.job import run_cell  # noqa: E402
from scaling_runs.plan import CorpusSize, plan_single  # noqa: E402
from scaling_runs.runtime import default_precision  # noqa: E402
from scaling_runs.store import Store  # noqa: E402
from tests.configs import config_of  # noqa: E402


def main() -> None:
    options = _options()
    jobs = [
        (choice, budget, width, seed)
        for budget in options.budgets
        for width in options.widths
        for choice in options.choices
        for seed in range(options.seeds)
    ]
    prepare(_config("", 1e12, 16, 0).data)
    rows = Parallel(n_jobs=workers(), batch_size=1, verbose=10)(delayed(train)(*job) for job in jobs)
    results = dict(zip(jobs, rows, strict=True))
    for budget in options.budgets:
        print(
            f"\n{budget:.3g} FLOPs, nats per token at each width\n{'':44}"
            + "".join(f"{w:>16}" for w in options.widths)
        )
        for choice in options.choices:
            cells = [
                [results[choice, budget, width, seed]["loss"] for seed in range(options.seeds)]
                for width in options.widths
            ]
            print(f"{choice:44}" + "".join(f"{_cell(losses):>16}" for losses in cells))
    keys = ("loss", "tokens", "params", "batch_tokens", "steps", "lr", "wall_s", "mfu")
    print(
        json.dumps(
            [
                {
                    "choice": choice,
                    "budget": budget,
                    "width": width,
                    "seed": seed,
                    **{key: row[key] for key in keys},
                }
                for (choice, budget, width, seed), row in results.items()
            ]
        )
    )


def train(choice: str, budget: float, width: int, seed: int) -> dict[str, Any]:
    """The result of one cell, trained where the store does not have it."""
    config = _config(choice, budget, width, seed)
    corpus = CorpusSize.of(prepare(config.data))
    cell = plan_single(config, corpus, config.precision or default_precision()).cells[0]
    return run_cell(Store(Path(config.store)).add(cell.spec), config)


def _config(choice: str, budget: float, width: int, seed: int) -> Config:
    return config_of(
        *choice.split(), f"budget={budget}", f"model.width={width}", f"seed={seed}", "tracking=off"
    )


def _cell(losses: list[float]) -> str:
    spread = f" ±{statistics.stdev(losses):.4f}" if len(losses) > 1 else ""
    return f"{statistics.mean(losses):.4f}{spread}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budgets", type=float, nargs="+", required=True, help="FLOPs")
    parser.add_argument("--widths", type=int, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each cell")
    parser.add_argument(
        "--try", dest="choices", nargs="+", required=True, help="options of launch.py, quoted together"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
