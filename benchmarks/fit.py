"""What the fit costs, beside the same work as loops over scipy's solvers.

    python benchmarks/fit.py           # Llama 3's points where ../shared/data has them, else as many simulated runs
    python benchmarks/fit.py TABLE     # any run table

Prints a table of processor seconds after import (other work on the machine does not lengthen them), the project's
beside the loops', and their ratio: the whole fit with 1,000 resamples, beside the resamples of its valleys and the law
through them alone; 1,000 resamples of the surface. The loops do a twentieth of the resamples, and are scaled up. Then a
table of 100,000 simulated runs from the file to the printed summary, with its peak memory, for which there is no peer.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # before this folder, in which `fit` is this file

from benchmarks.coverage import Scenario, simulate
from fit.isoflop import fit_isoflop
from fit.report.summary import render
from fit.surface import Surface, fit_surface, resampled_surfaces
from fit.table import RunTable, load_runs
from fit.valley import AXES, fit_valley

LLAMA3 = Path(__file__).parents[2] / "shared" / "data" / "llama3_isoflops.csv"
LIKE_LLAMA3 = Scenario(budgets=10, sizes=13, noise=0.01, grid="centred", scatter=0.0)
"""130 runs, where Llama 3's are 133 at ten budgets."""
RESAMPLES = 1000
LOOPED = 50
ROWS = 100_000


def timed(work: Callable[[], object]) -> float:
    """Seconds of this process's work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def isoflop_by_loop(table: RunTable) -> None:
    """A parabola by scipy.optimize.curve_fit for each valley of each resample, and the line through its minima."""
    from scipy.optimize import curve_fit
    from scipy.stats import linregress

    random = np.random.default_rng(0)
    for axis in AXES:
        valleys = [fit_valley(table, float(budget), axis) for budget in table.budgets]
        for _ in range(LOOPED):
            minima = []
            for valley in valleys:
                fitted = valley.loss_at(valley.sizes)
                losses = fitted + random.choice(valley.losses - fitted, len(fitted))
                (_, c1, c2), _ = curve_fit(
                    lambda z, a, b, c: a + b * z + c * z * z, valley.design[:, 1], losses
                )
                minima.append(np.log(valley.centre) - c1 / (2 * c2))
            linregress(np.log(table.budgets), minima)


def surface_by_loop(table: RunTable, surface: Surface) -> None:
    """scipy.optimize.least_squares on all five unknowns, from the fit."""
    from scipy.optimize import least_squares

    random = np.random.default_rng(0)
    x, y = np.log(table.params), np.log(table.tokens)
    x, y = x - x.mean(), y - y.mean()
    fitted = surface.loss(table.params, table.tokens)

    def residuals(unknowns: np.ndarray, losses: np.ndarray) -> np.ndarray:
        floor, a, b, alpha, beta = unknowns
        return np.asarray(floor + a * np.exp(-alpha * x) + b * np.exp(-beta * y) - losses)

    start = [surface.floor, 0.2, 0.2, surface.alpha, surface.beta]
    for _ in range(LOOPED):
        losses = fitted + random.choice(table.loss - fitted, len(fitted))
        least_squares(residuals, start, args=(losses,), x_scale="jac", xtol=1e-10, ftol=1e-10, gtol=1e-10)


def large_table() -> tuple[float, float]:
    """Seconds from the file to the summary, and the peak memory of this process in GB."""
    runs = simulate(Scenario(10, ROWS // 10, 0.01, "centred", 0.0), np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        columns = ("flops", "params", "tokens", "loss")
        rows = np.stack([getattr(runs, name) for name in columns], axis=1)
        np.savetxt(path, rows, delimiter=",", header=",".join(columns), comments="", fmt="%.12g")
        del runs, rows
        seconds = timed(lambda: render(fit_isoflop(load_runs(path), predict=[1e23])))
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def the_table() -> RunTable:
    """The one that is named, or Llama 3's, or one like it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", nargs="?", default=str(LLAMA3) if LLAMA3.exists() else None)
    path = parser.parse_args().table
    return simulate(LIKE_LLAMA3, np.random.default_rng(0)) if path is None else load_runs(path)


def main() -> None:
    """Print a table for people, and one JSON line for programs."""
    table = the_table()
    surface = fit_surface(table.params, table.tokens, table.loss).surface
    if surface is None:
        raise SystemExit(f"'{table.source}' has no surface")
    fit_isoflop(table, resamples=10)  # imports
    scale = RESAMPLES / LOOPED
    large_s, peak_gb = large_table()
    seconds = {
        f"whole fit, {RESAMPLES:,} resamples; valleys alone by scipy": (
            timed(lambda: fit_isoflop(table, resamples=RESAMPLES)),
            timed(lambda: isoflop_by_loop(table)) * scale,
        ),
        f"surface, {RESAMPLES:,} resamples": (
            timed(lambda: resampled_surfaces(table.params, table.tokens, table.loss, surface, RESAMPLES, 0)),
            timed(lambda: surface_by_loop(table, surface)) * scale,
        ),
    }
    print(f"{table.source}, {len(table)} runs")
    print(f"{'':<52} {'project, s':>10} {'scipy, s':>10} {'project / scipy':>16}")
    for name, (ours, peer) in seconds.items():
        print(f"{name:<52} {ours:>10.2f} {peer:>10.2f} {ours / peer:>16.3f}")
    print(f"{f'{ROWS:,} runs, file to summary, {peak_gb:.2f} GB':<52} {large_s:>10.2f} {'-':>10} {'-':>16}")
    record = {
        name: {"project_s": ours, "scipy_s": peer, "ratio": ours / peer}
        for name, (ours, peer) in seconds.items()
    }
    large = {"rows": ROWS, "project_s": large_s, "peak_gb": peak_gb}
    print(json.dumps({"benchmark": "fit", "runs": len(table), "seconds": record, "large": large}))


if __name__ == "__main__":
    main()
