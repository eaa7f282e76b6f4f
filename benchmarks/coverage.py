"""How often the headline 95% intervals hold the truth, on simulated experiments whose law is known.

    python benchmarks/coverage.py                       # all scenarios, 500 experiments each: 45 minutes of 2 cores
    python benchmarks/coverage.py --experiments 100     # quicker, rougher

An experiment is a grid of budgets and sizes on the surface of Hoffmann et al. (arXiv 2203.15556, eq. 10) with Gaussian
noise on each run, and, where scatter is on, each budget's valley moved by a random factor. Its exponent, its optimal
tokens at 100 times the largest budget and its coefficient are known in closed form. A scenario is ill-posed where the
project's own diagnostics would say so of a typical experiment: its noise-free valley is shallower than twice the noise,
or its minimum lies in the outer fifth of the grid, at one budget or more. `oracle` is the half width of an interval
that knows the noise, the scatter and the bias, and has nothing to estimate but the line.

The standard deviation of a share of 500 is 1.0%, so that of some 400 shares a few dozen lie outside their bounds by
chance. Scenarios with such a share are simulated afresh, with 4,000 experiments each (0.3%), and those shares are what
is said of them: new draws know nothing of what chance they were chosen by.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fit.axis import fit_axis
from fit.diagnostics import OFF_CENTRE, SHALLOW
from fit.diagnostics.valleys import place
from fit.surface import Surface, fit_surface
from fit.table import RunTable
from fit.valley import fit_valley

TRUTH = Surface(floor=1.69, a=406.4, b=410.7, alpha=0.34, beta=0.28)
LOWEST, HIGHEST = 1e18, 1e21
PREDICTED = 100 * HIGHEST
COUPLED = 0.6
SPAN = 6.0
"""Sizes run from the centre over SPAN to the centre times SPAN."""
OFF = 2.5
"""Factor in params by which an off-centre grid misses, and a drifting one at its last budget."""
FAR = 4.0
"""Likewise at both ends, in opposite directions: past the outer fifth of the grid."""
SCATTER = 0.1
"""Standard deviation of ln(optimum) over budgets."""
NORMAL = 1.959964
WELL, ILL = (0.93, 0.97), (0.9, 1.0)
"""Bounds of the share of intervals that hold the truth; ILL also where the truth is not what the fit takes it for."""
GRIDS = {
    "centred": (1.0, 1.0),
    "off-centre": (OFF, OFF),
    "drifting": (1.0, OFF),
    "far drift": (1 / FAR, FAR),
}
"""Centre of the first and of the last budget's grid, over the optimum."""


@dataclass(frozen=True)
class Scenario:
    """A kind of experiment."""

    budgets: int
    sizes: int
    noise: float
    """Nats, standard deviation of a run."""
    grid: str
    scatter: float
    coupling: float = 1.0
    """Of the two terms; 1 on the surface that the fit takes for the truth. See `_loss`."""
    uneven: bool = False
    """Whether the smallest size is twice as noisy as `noise`, and the largest half as much."""


@dataclass(frozen=True)
class Coverage:
    """How often the truth was held."""

    scenario: Scenario
    well_posed: bool
    experiments: int
    failed: int
    """Experiments without a law or an interval: fewer than three usable minima."""
    exponent: float
    coefficient: float
    prediction: float
    plain: float
    """Of the exponent, by Student's t interval of the plain regression."""
    half_width: float
    """Median, of the exponent's interval."""
    oracle: float

    @property
    def within_bounds(self) -> bool:
        low, high = WELL if self.well_posed and self.scenario not in HELD_OUT else ILL
        return all(low <= share <= high for share in (self.exponent, self.coefficient, self.prediction))


SCENARIOS = tuple(
    Scenario(budgets, sizes, noise, grid, scatter)
    for scatter, grid, budgets, sizes, noise in product(
        (0.0, SCATTER), GRIDS, (4, 6, 10), (5, 9, 13), (0.001, 0.01, 0.03)
    )
)


HELD_OUT = tuple(
    Scenario(6, 9, noise, grid, scatter, coupling=COUPLED, uneven=True)
    for scatter, grid, noise in product((0.0, SCATTER), GRIDS, (0.001, 0.01, 0.03))
)
"""What the fit does not take for the truth: another surface, and noise that hangs on the size."""


def _loss(scenario: Scenario, log_params: np.ndarray, log_tokens: np.ndarray) -> np.ndarray:
    """floor + (u^(1/g) + v^(1/g))^g with u = a·N^-alpha, v = b·D^-beta and g the coupling.

    Kaplan et al. (arXiv 2001.08361, eq. 1.5) couple the two so; at g = 1 it is the surface of Hoffmann et al. On a
    budget the lowest loss is where alpha·u^(1/g) = beta·v^(1/g): the exponent of the optimum does not hang on g.
    """
    truth = _truth(scenario)
    u, v = truth.a * np.exp(-truth.alpha * log_params), truth.b * np.exp(-truth.beta * log_tokens)
    return np.asarray(TRUTH.floor + (u + v) ** scenario.coupling)


def _noise_by_size(scenario: Scenario) -> np.ndarray:
    """(sizes,) nats, of the smallest first."""
    return scenario.noise * (
        np.geomspace(2, 0.5, scenario.sizes) if scenario.uneven else np.ones(scenario.sizes)
    )


def _truth(scenario: Scenario) -> Surface:
    """The surface of the same optima: u^(1/g) and v^(1/g) added."""
    g = scenario.coupling
    return Surface(TRUTH.floor, TRUTH.a ** (1 / g), TRUTH.b ** (1 / g), TRUTH.alpha / g, TRUTH.beta / g)


def simulate(scenario: Scenario, random: np.random.Generator) -> RunTable:
    """One experiment."""
    flops = np.geomspace(LOWEST, HIGHEST, scenario.budgets)
    first, last = GRIDS[scenario.grid]
    miss = np.geomspace(first, last, scenario.budgets)
    moved = scenario.scatter * random.standard_normal(scenario.budgets)
    steps = np.linspace(-1, 1, scenario.sizes) * np.log(SPAN)
    optimum = np.array([_truth(scenario).optima(one)["params"] for one in flops])
    log_params = np.log(optimum * miss)[:, None] + steps
    log_tokens = np.log(flops / 6)[:, None] - log_params
    loss = _loss(scenario, log_params - moved[:, None], log_tokens + moved[:, None])
    loss = loss + _noise_by_size(scenario) * random.standard_normal(loss.shape)
    budget = np.repeat(flops, scenario.sizes)
    return RunTable(
        source="simulated",
        budget=budget,
        flops=budget,
        params=np.exp(log_params).ravel(),
        tokens=np.exp(log_tokens).ravel(),
        loss=loss.ravel(),
        run_id=np.arange(len(budget)).astype(str),
    )


def cover(scenario: Scenario, experiments: int, seed: int = 0) -> Coverage:
    """`experiments` of one scenario, seeded."""
    random = np.random.default_rng(seed)
    truth = _truth(scenario)
    exponent = truth.exponents["tokens"]
    log_top, log_predicted = (np.log(truth.optima(flops)["tokens"]) for flops in (HIGHEST, PREDICTED))
    truths = np.array([exponent, log_top - exponent * np.log(HIGHEST), log_predicted])
    held, plain, widths = [], [], []
    for _ in range(experiments):
        table = simulate(scenario, random)
        surface = fit_surface(table.params, table.tokens, table.loss).surface
        law = fit_axis(table, "tokens", surface=surface).law
        if law is None or len(law.flops) < 3:
            continue
        intervals = [law.line.slope_ci95(), law.line.value_ci95(0.0), law.line.value_ci95(np.log(PREDICTED))]
        found = [one for one in intervals if one is not None]
        held.append([low <= truth <= high for (low, high), truth in zip(found, truths, strict=True)])
        between = law.parts["between"]
        assert between is not None
        plain.append(between[0] <= exponent <= between[1])
        widths.append((found[0][1] - found[0][0]) / 2)
    shares = np.mean(held, axis=0) if held else np.full(3, np.nan)
    return Coverage(
        scenario=scenario,
        well_posed=_well_posed(scenario),
        experiments=experiments,
        failed=experiments - len(held),
        exponent=float(shares[0]),
        coefficient=float(shares[1]),
        prediction=float(shares[2]),
        plain=float(np.mean(plain)) if plain else float("nan"),
        half_width=float(np.median(widths)) if widths else float("nan"),
        oracle=_oracle(scenario),
    )


def _noise_free(scenario: Scenario) -> RunTable:
    return simulate(replace(scenario, noise=0.0, scatter=0.0), np.random.default_rng(0))


def _well_posed(scenario: Scenario) -> bool:
    """Whether no diagnostic speaks of its noise-free valleys."""
    table = _noise_free(scenario)
    for budget in table.budgets:
        valley = fit_valley(table, float(budget), "tokens")
        if valley.optimum is None or valley.depth < SHALLOW * scenario.noise:
            return False
        share = place(valley)
        if share is None or not OFF_CENTRE <= share <= 1 - OFF_CENTRE:
            return False
    return True


def _oracle(scenario: Scenario) -> float:
    """Half width of the exponent's interval where every budget's error is known; NaN where one has no minimum."""
    table = _noise_free(scenario)
    valleys = [fit_valley(table, float(budget), "tokens") for budget in table.budgets]
    if any(valley.optimum is None for valley in valleys):
        return float("nan")
    variance = np.array(
        [
            np.sum((_noise_by_size(scenario) * valley.minimum_gradient(valley.coefficients)) ** 2)
            + scenario.scatter**2
            for valley in valleys
        ]
    )
    x = np.log(table.budgets)
    centre = np.average(x, weights=1 / variance)
    return float(NORMAL / np.sqrt(np.sum((x - centre) ** 2 / variance)))


def _row(found: Coverage) -> str:
    scenario = found.scenario
    posed = "held out" if scenario in HELD_OUT else "well" if found.well_posed else "ill"
    return (
        f"| {scenario.budgets} | {scenario.sizes} | {scenario.noise:g} | {scenario.grid} | {scenario.scatter:g} | "
        f"{posed} | {found.exponent:.1%} | {found.coefficient:.1%} | "
        f"{found.prediction:.1%} | {found.plain:.1%} | {found.half_width:.4f} | {found.oracle:.4f} | "
        f"{found.half_width / found.oracle:.2f} | {found.failed} |"
    )


def _summary(results: Sequence[Coverage]) -> list[str]:
    """The table of docs/fit.md: scenarios of one kind a row."""
    kinds = {
        f"{'well' if well else 'ill'}-posed, {budgets} budgets{', scatter' * bool(scatter)}": [
            one
            for one in results
            if (one.well_posed, one.scenario.budgets, one.scenario.scatter) == (well, budgets, scatter)
            and one.scenario not in HELD_OUT
        ]
        for well, budgets, scatter in product((True, False), (4, 6, 10), (0.0, SCATTER))
    }
    for scatter in (0.0, SCATTER):
        kinds[f"another surface, uneven noise{', scatter' * bool(scatter)}"] = [
            one for one in results if one.scenario in HELD_OUT and one.scenario.scatter == scatter
        ]
    lines = [
        "| scenarios | how many | α | A | D* at 100x the top | α by the plain t | half width over the oracle's |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, kind in kinds.items():
        if not kind:
            continue
        shares = [
            _range([getattr(one, of) for one in kind]) for of in ("exponent", "coefficient", "prediction")
        ]
        plain = [one.plain for one in kind]
        ratio = np.nanmedian([one.half_width / one.oracle for one in kind])
        cells = (name, len(kind), *shares, f"{min(plain):.1%} to {max(plain):.1%}", f"{ratio:.2f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _range(shares: list[float]) -> str:
    return f"{min(shares):.1%} to {max(shares):.1%}, mean {np.mean(shares):.1%}"


def _cover_all(jobs: Sequence[tuple[Scenario, int, int]]) -> list[Coverage]:
    """`cover` of each (scenario, experiments, seed), over all cores; prints a row each."""
    print(
        "| budgets | sizes | noise | grid | scatter | posed | α | A | prediction | plain t | half width | oracle | "
        "ratio | no law |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    results = []
    with ProcessPoolExecutor() as pool:
        for found in pool.map(cover, *zip(*jobs, strict=True)):
            results.append(found)
            print(_row(found), flush=True)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a scenario a row, those outside their bounds again, a row for each kind of them, and a line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiments", type=int, default=500)
    parser.add_argument(
        "--again", type=int, default=4000, help="experiments of a scenario outside its bounds"
    )
    parser.add_argument("--every", type=int, default=1, help="only each n-th scenario")
    options = parser.parse_args(arguments)
    chosen = (*SCENARIOS, *HELD_OUT)[:: options.every]
    first = _cover_all([(scenario, options.experiments, i) for i, scenario in enumerate(chosen)])
    outside = [
        (found.scenario, options.again, len(SCENARIOS) + i)
        for i, found in enumerate(first)
        if not found.within_bounds
    ]
    print(f"\n{len(outside)} of {len(first)} outside their bounds, afresh:\n")
    again = {found.scenario: found for found in (_cover_all(outside) if outside else [])}
    results = [again.get(found.scenario, found) for found in first]
    print("\n".join(["", *_summary(results), ""]))
    print(
        json.dumps(
            {
                "benchmark": "coverage",
                "results": [asdict(found) for found in results],
                "first": [asdict(found) for found in first if found.scenario in again],
            }
        )
    )


if __name__ == "__main__":
    main()
