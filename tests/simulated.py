"""Run tables that obey a known law; nothing is trained."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fit.table import RunTable

BUDGETS = (1e18, 4e18, 1.6e19, 6.4e19, 2.56e20)


@dataclass(frozen=True)
class Law:
    """optimum = coefficient · C^exponent."""

    coefficient: float
    exponent: float

    def __call__(self, flops: float) -> float:
        return float(self.coefficient * flops**self.exponent)


TOKENS = Law(0.299, 0.537)


def parabolas(
    law: Law = TOKENS,
    *,
    budgets: Sequence[float] = BUDGETS,
    sizes: int = 7,
    span: float = 6.0,
    centre: float = 1.0,
    curvature: float = 0.05,
    noise: float = 0.0,
    seeds: int = 1,
    seed: int = 0,
) -> RunTable:
    """Runs whose loss is a parabola of ln D about `law`, to the last bit but for Gaussian `noise` (nats).

    Each budget's grid is even in log D, from `span` below to `span` above `centre` times the optimum, each size
    `seeds` times; params follow from C = 6·N·D, so that their optima obey N* = C / (6·D*) exactly.
    """
    random = np.random.default_rng(seed)
    budget = np.repeat(np.asarray(budgets, dtype=float), sizes * seeds)
    steps = np.tile(np.repeat(np.linspace(-1, 1, sizes), seeds), len(budgets))
    optimum = np.array([law(flops) for flops in budget])
    tokens = optimum * centre * np.exp(steps * np.log(span))
    floor = 2 + 3 * (budget / 1e18) ** -0.05
    loss = floor + curvature * np.log(tokens / optimum) ** 2 + noise * random.standard_normal(len(budget))
    return table(budget, budget / (6 * tokens), tokens, loss)


@dataclass(frozen=True)
class Surface:
    """L(N, D) = floor + a/N^alpha + b/D^beta as Hoffmann et al. fitted it (arXiv 2203.15556, eq. 10)."""

    floor: float = 1.69
    a: float = 406.4
    b: float = 410.7
    alpha: float = 0.34
    beta: float = 0.28

    def loss(self, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return np.asarray(self.floor + self.a / params**self.alpha + self.b / tokens**self.beta)

    def tokens_law(self) -> Law:
        """Where the loss is lowest on C = 6·N·D: the zero of its derivative, solved by hand."""
        exponent = self.alpha / (self.alpha + self.beta)
        ratio = (self.beta * self.b / (self.alpha * self.a)) ** (1 / (self.alpha + self.beta))
        return Law(ratio * 6**-exponent, exponent)

    def runs(
        self,
        *,
        budgets: Sequence[float] = BUDGETS,
        sizes: int = 9,
        span: float = 1.5,
        noise: float = 0.0,
        seed: int = 0,
    ) -> RunTable:
        """Runs on C = 6·N·D, about the optimum of each budget."""
        random = np.random.default_rng(seed)
        budget = np.repeat(np.asarray(budgets, dtype=float), sizes)
        steps = np.tile(np.linspace(-1, 1, sizes), len(budgets))
        law = self.tokens_law()
        tokens = np.array([law(flops) for flops in budget]) * np.exp(steps * np.log(span))
        params = budget / (6 * tokens)
        loss = self.loss(params, tokens) + noise * random.standard_normal(len(budget))
        return table(budget, params, tokens, loss)


def table(
    budget: np.ndarray, params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, **others: Any
) -> RunTable:
    """A run table of these columns that spent its budgets exactly."""
    return RunTable(
        source="simulated",
        budget=budget,
        flops=budget.copy(),
        params=params,
        tokens=tokens,
        loss=loss,
        run_id=np.array([f"run {i}" for i in range(len(loss))]),
        **others,
    )


def rows_of(runs: RunTable) -> list[dict[str, Any]]:
    """Contract 1, a row a run."""
    columns = ("budget", "flops", "params", "tokens", "loss")
    return [
        {"run_id": str(runs.run_id[i]), **{name: float(getattr(runs, name)[i]) for name in columns}}
        for i in range(len(runs))
    ]


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """`rows` as a CSV with every digit; the columns are those of the first."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
