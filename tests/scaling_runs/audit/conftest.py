"""Budgets whose losses are made of a known law and a known effect of another recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fit.isoflop import IsoflopFit, fit_isoflop
from fit.table import load_runs
from fit.valley import AXES, fit_valley
from scaling_runs.audit.choice import Audit, choose_audit
from scaling_runs.audit.effect import AuditedBudget
from scaling_runs.audit.run import labelled
from scaling_runs.audit.study import Study, study_audit
from scaling_runs.cell import Cell
from scaling_runs.conclusion import table_rows, to_csv
from scaling_runs.plan import Plan
from scaling_runs.store import Store
from tests.configs import LOCAL_CORPUS, config_of, plan_of
from tests.scaling_runs.conftest import filled
from tests.scaling_runs.test_launching import finish, valley
from tests.simulated import Law, table

Change = Callable[[np.ndarray, float], np.ndarray]
"""Nats that another recipe adds, at (n,) ln params and a budget."""
PARAMS = Law(0.05, 0.5)
CURVATURE = 0.07


def audited_budget(
    flops: float,
    changes: Mapping[str, Change],
    *,
    noise: float = 0.0,
    random: np.random.Generator | None = None,
    seeds: int = 1,
    picked: tuple[int, int] = (1, 5),
    curvature: float = CURVATURE,
) -> AuditedBudget:
    """Seven sizes of a parabola about `PARAMS`, of which two were trained again under each change.

    C = 6·N·D, so that the parabola in ln D has the same curvature as that in ln N.
    """
    random = random or np.random.default_rng(0)
    params = np.repeat(PARAMS(flops) * np.exp(np.linspace(-1, 1, 7) * np.log(4)), seeds)
    log_params = np.log(params)

    def losses(at: np.ndarray) -> np.ndarray:
        smooth = 2 + curvature * (at - np.log(PARAMS(flops))) ** 2
        return np.asarray(smooth + noise * random.standard_normal(len(at)))

    runs = table(np.full(len(params), flops), params, flops / (6 * params), losses(log_params))
    member = np.stack([np.arange(len(params)) // seeds == i for i in picked])
    changed = {}
    for name, change in changes.items():
        of_sizes = [log_params[which] for which in member]
        changed[name] = np.array([np.mean(losses(at) + change(at, flops)) for at in of_sizes])
    sizes = np.array([params[which][0] for which in member])
    return AuditedBudget(
        flops=flops,
        valleys={axis: fit_valley(runs, flops, axis) for axis in AXES},
        sizes={"params": sizes, "tokens": flops / (6 * sizes)},
        rule=member / seeds,
        changed=changed,
        runs={name: np.array([seeds, seeds]) for name in changes},
    )


CellChange = Callable[[Cell], float]
"""Nats that another recipe adds to a cell."""


@dataclass(frozen=True)
class Trained:
    """A sweep and its audit whose cells have losses by a known law; nothing was trained."""

    audit: Audit
    plan: Plan
    store: Store

    @property
    def folder(self) -> Path:
        return self.store.sweep_folder(self.plan.name)

    def rows(self) -> list[dict[str, Any]]:
        """The audit's own table."""
        return labelled(self.audit, table_rows(self.audit.plan(self.plan.name), self.store))

    def fit(self) -> IsoflopFit:
        return fit_isoflop(load_runs(self.table()), resamples=0)

    def table(self) -> Path:
        """The sweep's runs.csv, beside a summary."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "summary.txt").write_text("the fit\n")
        path = self.folder / "runs.csv"
        path.write_text(to_csv(table_rows(self.plan, self.store)))
        return path

    def study(self) -> Study:
        return study_audit(self.audit, self.fit(), self.rows())


def trained(root: Path, changes: Mapping[str, CellChange], *overrides: str, noise: float = 0.0) -> Trained:
    """isoflop_small and its audit; the losses are those of `tests/scaling_runs/test_launching.py`, plus `changes` by
    perturbation, plus Gaussian noise."""
    random = np.random.default_rng(0)
    options = ("sweep=isoflop_small", *overrides)
    plan = plan_of(*options)
    audit = choose_audit(config_of(*options), plan, LOCAL_CORPUS)
    store = filled(root, [*plan.cells, *(one.cell for one in audit.cells)])
    for cell in plan.cells:
        finish(store, cell, valley(cell) + noise * random.standard_normal())
    for one in audit.cells:
        change = changes.get(one.perturbation.name, lambda cell: 0.1)
        finish(store, one.cell, valley(one.cell) + change(one.cell) + noise * random.standard_normal())
    return Trained(audit, plan, store)
