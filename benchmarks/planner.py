"""What the adaptive planner saves: FLOPs until α's interval is as narrow as that of a fixed grid on the same law.

    python benchmarks/planner.py                  # 200 laws: some minutes of one core
    python benchmarks/planner.py --laws 40        # quicker, rougher

A law is a surface L = E + a·N^-alpha + b·D^-beta with exponents, coefficients and noise drawn at random, half of the
time with the two terms coupled (`benchmarks/coverage.py`), so that its valleys have another asymmetry than the fit
takes them for, and half of the time with every budget's valley moved by 5%. The fixed grid has 4 budgets over a factor
of 16 and 7 sizes each, as isoflop_small, once centred on the true optima and once on a guess that is off by up to 10x.
The planner starts from that guess; what it is asked for is the width that the centred grid reached on the same law and
noise, or the one that it usually reaches on that law: the median of 15 draws of the noise, for an interval on two
degrees of freedom is narrow or wide by luck. It may train at the grid's own 4 budgets, or at 7 over the same range. It
may spend twice the grid's FLOPs; where that is not enough the ratio is that of what was spent.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fit.axis import fit_axis
from fit.surface import Surface, fit_surface
from fit.valley import AXES
from scaling_runs.adaptive.decide import decide
from scaling_runs.adaptive.records import Observation, Request, Settings, Space, table_of

LOWEST, HIGHEST = 1e18, 1.6e19
GRID_BUDGETS, GRID_SIZES, SPAN = 4, 7, 6.0
CENTRED = "fixed grid, centred"
LADDERS = {"the grid's 4 budgets": 4, "7 budgets, same range": 7}
USUAL_DRAWS = 15
LADDER = np.unique(np.round(np.geomspace(1e5, 1e12, 900))).astype(int)
"""Params: rungs of 1.8%."""
MOST = 2.0
"""FLOPs that the planner may spend, over the grid's."""
ROUND_CELLS = 4
COUPLED = 0.6


@dataclass(frozen=True)
class Truth:
    """One simulated law."""

    surface: Surface
    coupling: float
    noise: float
    scatter: float
    guess: float
    """The expected optimum over the true one."""
    seed: int

    def loss(self, request: Request) -> float:
        """Nats a token, the same whenever it is asked for."""
        at = [self.seed, int(np.log(request.budget) * 1e6), request.params, request.seed]
        moved = self.scatter * np.random.default_rng(at[:2]).standard_normal()
        noise = self.noise * np.random.default_rng(at).standard_normal()
        params = request.params * np.exp(-moved)
        tokens = request.budget / 6 / params
        u, v = self.surface.a * params**-self.surface.alpha, self.surface.b * tokens**-self.surface.beta
        g = self.coupling
        return float(self.surface.floor + (u ** (1 / g) + v ** (1 / g)) ** g + noise)

    def optimum(self, flops: float) -> float:
        """Params: where alpha·u^(1/g) = beta·v^(1/g), the zero of the derivative on C = 6·N·D."""
        s, g = self.surface, self.coupling
        same = Surface(s.floor, s.a ** (1 / g), s.b ** (1 / g), s.alpha / g, s.beta / g)
        return same.optima(flops)["params"]

    @property
    def exponent(self) -> float:
        """Of optimal tokens."""
        return self.surface.exponents["tokens"]


@dataclass(frozen=True)
class Outcome:
    """What one experiment came to."""

    flops: float
    cells: int
    rounds: int
    half_width: float
    """Of α's headline 95% interval; NaN where there is none."""
    holds: bool
    edges: int
    """Budgets without a minimum inside their grid, along either axis."""
    narrow_enough: bool


def draw(random: np.random.Generator, seed: int) -> Truth:
    """Exponents as published laws have them; noise of 0.001 to 0.03 nats; the guess off by up to 10x either way."""
    surface = Surface(
        floor=random.uniform(1.2, 2.0),
        a=float(np.exp(random.normal(np.log(406.4), 0.3))),
        b=float(np.exp(random.normal(np.log(410.7), 0.3))),
        alpha=random.uniform(0.26, 0.42),
        beta=random.uniform(0.24, 0.38),
    )
    return Truth(
        surface=surface,
        coupling=float(random.choice([1.0, COUPLED])),
        noise=float(np.exp(random.uniform(np.log(0.001), np.log(0.03)))),
        scatter=float(random.choice([0.0, 0.05])),
        guess=float(10 ** random.uniform(-1, 1)),
        seed=seed,
    )


def observe(truth: Truth, requests: Sequence[Request]) -> list[Observation]:
    return [
        Observation(
            budget=one.budget,
            params=one.params,
            tokens=one.budget / 6 / one.params,
            flops=one.budget,
            cost=one.budget,
            loss=truth.loss(one),
            seed=one.seed,
        )
        for one in requests
    ]


def judge(truth: Truth, runs: Sequence[Observation], rounds: int, asked: float) -> Outcome:
    """By the project's headline fit."""
    table = table_of(runs)
    surface = fit_surface(table.params, table.tokens, table.loss).surface
    axes = {axis: fit_axis(table, axis, surface=surface) for axis in AXES}
    statuses = zip(*([valley.status for valley in fitted.valleys] for fitted in axes.values()), strict=True)
    law = axes["tokens"].law
    ci95 = None if law is None else law.exponent_ci95
    half_width = float("nan") if ci95 is None else (ci95[1] - ci95[0]) / 2
    return Outcome(
        flops=float(table.flops.sum()),
        cells=len(runs),
        rounds=rounds,
        half_width=half_width,
        holds=ci95 is not None and ci95[0] <= truth.exponent <= ci95[1],
        edges=sum(set(pair) != {"ok"} for pair in statuses),
        narrow_enough=half_width <= asked,
    )


def fixed_grid(truth: Truth, centre: float, asked: float = np.inf) -> Outcome:
    """`centre`: the grid's over the true optimum; `asked`: the half width that is narrow enough."""
    steps = np.geomspace(1 / SPAN, SPAN, GRID_SIZES)
    requests = [
        Request(float(flops), round(truth.optimum(flops) * centre * step), 0)
        for flops in np.geomspace(LOWEST, HIGHEST, GRID_BUDGETS)
        for step in steps
    ]
    return judge(truth, observe(truth, requests), 1, asked)


def adaptive(truth: Truth, budgets: int, asked: float, most_flops: float) -> Outcome:
    """From the guess until α is known to `asked`."""
    ladder = tuple(float(flops) for flops in np.geomspace(LOWEST, HIGHEST, budgets))
    settings = Settings(
        budgets=ladder,
        expected_params=truth.optimum(LOWEST) * truth.guess,
        expected_at_flops=LOWEST,
        expected_exponent=0.5,
        span=SPAN,
        sizes=5,
        round_cells=ROUND_CELLS,
        max_flops=most_flops,
        exponent_width=asked,
    )
    sizes = LADDER.tolist()
    space = Space(lambda _: sizes, lambda request: request.budget)
    runs: list[Observation] = []
    rounds = 0
    while not (decision := decide(runs, frozenset(), settings, space)).stop:
        runs += observe(truth, decision.requests)
        rounds += 1
    return judge(truth, runs, rounds, asked)


def _experiments(truth: Truth) -> dict[str, Outcome]:
    grid = fixed_grid(truth, 1.0)
    found = {CENTRED: grid, "fixed grid, by the guess": fixed_grid(truth, truth.guess, grid.half_width)}
    for name, budgets in LADDERS.items():
        found[f"adaptive, {name}"] = adaptive(truth, budgets, grid.half_width, MOST * grid.flops)
    usual = usual_half_width(truth)
    for name, budgets in LADDERS.items():
        found[f"adaptive, {name}, usual width"] = adaptive(truth, budgets, usual, MOST * grid.flops)
    return found


def usual_half_width(truth: Truth) -> float:
    """That of the centred grid, over other draws of the noise and of the budgets' shifts."""
    others = (replace(truth, seed=truth.seed + 10_000 * number) for number in range(1, USUAL_DRAWS + 1))
    return float(np.nanmedian([fixed_grid(other, 1.0).half_width for other in others]))


def _row(name: str, outcomes: Sequence[Outcome], grids: Sequence[Outcome]) -> str:
    ratio = np.array([one.flops / grid.flops for one, grid in zip(outcomes, grids, strict=True)])
    width = np.nanmedian(
        [one.half_width / grid.half_width for one, grid in zip(outcomes, grids, strict=True)]
    )
    low, middle, high = np.quantile(ratio, [0.1, 0.5, 0.9])
    return (
        f"| {name} | {middle:.2f}, {ratio.mean():.2f} ({low:.2f} to {high:.2f}) | "
        f"{np.mean([one.narrow_enough for one in outcomes]):.1%} | "
        f"{width:.2f} | {np.mean([one.holds for one in outcomes]):.1%} | "
        f"{np.mean([one.edges > 0 for one in outcomes]):.1%} | {np.median([one.cells for one in outcomes]):.0f} | "
        f"{np.median([one.rounds for one in outcomes]):.0f} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table and a line of JSON; on Ctrl-C of the laws so far."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--laws", type=int, default=200)
    options = parser.parse_args(arguments)
    random, started = np.random.default_rng(0), time.monotonic()
    truths = [draw(random, seed) for seed in range(options.laws)]
    experiments: list[dict[str, Outcome]] = []
    try:
        for truth in truths:
            experiments.append(_experiments(truth))
    except KeyboardInterrupt:
        truths = truths[: len(experiments)]
    results = {name: [of_law[name] for of_law in experiments] for name in experiments[0]}
    grids = results[CENTRED]
    print(
        "| | FLOPs over the centred grid's: median, mean (10% to 90%) | as narrow | half width over its | α held | "
        "edge minima at the end | cells | rounds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, outcomes in results.items():
        print(_row(name, outcomes, grids))
    print(f"\n{len(truths)} laws in {time.monotonic() - started:.0f} s\n")
    raw = {name: [asdict(one) for one in outcomes] for name, outcomes in results.items()}
    print(json.dumps({"benchmark": "planner", "laws": [asdict(one) for one in truths], "results": raw}))


if __name__ == "__main__":
    main()
