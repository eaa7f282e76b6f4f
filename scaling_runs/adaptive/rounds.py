"""The rounds of an adaptive sweep: decide, train, and decide anew by what is in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scaling_runs.adaptive.cells import Foundry, settings_of
from scaling_runs.adaptive.decide import decide
from scaling_runs.adaptive.records import Decision, Observation, Request, Settings
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.files import read_json, write_json
from scaling_runs.launchers import SideBySide
from scaling_runs.numbers import number
from scaling_runs.plan import Plan
from scaling_runs.planning import TimedPlan, time_plan
from scaling_runs.ranks import by_rank_0
from scaling_runs.report import say
from scaling_runs.store import Store

DECISIONS = "decisions.json"


def rule_of(settings: Settings) -> str:
    """What follows the first round, for a dry run."""
    asked = f"±{settings.half_width:.3g}" + " in ln D" * (settings.target is not None)
    budgets = ", ".join(f"{budget:.3g}" for budget in settings.budgets)
    return (
        f"adaptive: these cells are the first round. After each round, a budget whose minimum lies at the edge of its "
        f"grid is extended; then come, {settings.round_cells} cells at a time, the sizes, seeds and budgets (of "
        f"{budgets}) that cut the variance of {settings.aim} most per FLOP, each new budget centred by the law so "
        f"far. It stops where the 95% interval of {settings.aim} is {asked} or narrower, or at "
        f"{settings.max_flops:.3g} FLOPs."
    )


def train_rounds(
    config: Config,
    first: TimedPlan,
    store: Store,
    train: Callable[[TimedPlan], None],
    side_by_side: SideBySide,
) -> Plan:
    """All cells that the decisions ask for, trained by `train` where they are not finished; on every rank alike.

    Each run begins with the first decision and finds what is in the store, so that one that was killed comes to the
    same decisions. A cell that fails is asked for once a run.
    """
    foundry = Foundry(config, first.corpus, first.plan.cells[0].spec.precision)
    settings = settings_of(foundry.sweep)
    folder = store.sweep_folder(first.plan.name)
    asked: list[Request] = []
    observations: list[Observation] = []
    failed: set[Request] = set()
    decisions: list[Decision] = []
    while True:
        decision = by_rank_0(partial(decide, observations, failed, settings, foundry.space(asked)))
        decisions.append(decision)
        _say(decision, len(decisions), foundry)
        by_rank_0(partial(_write, folder, foundry, decisions))
        if decision.stop is not None:
            break
        plan = foundry.plan(decision.requests, asked)
        asked += decision.requests
        if by_rank_0(partial(_any_unfinished, plan, store)):
            train(time_plan(plan, first.corpus, config, side_by_side))
        finished = by_rank_0(partial(_finished, plan.cells, decision.requests, store))
        observations += finished
        missing = {
            request: cell
            for request, cell in zip(decision.requests, plan.cells, strict=True)
            if request not in {Request(one.budget, one.params, one.seed) for one in finished}
        }
        failed |= set(missing)
        busy = by_rank_0(partial(_without_failure, [cell.cell_id for cell in missing.values()], store))
        if busy:
            say(f"round {len(decisions)} is not whole, so nothing more is decided: {busy} was not trained")
            break
    return foundry.plan(asked)


def _finished(cells: Sequence[Cell], requests: Sequence[Request], store: Store) -> list[Observation]:
    """What is in the store, in the order of the requests."""
    found = []
    for cell, request in zip(cells, requests, strict=True):
        result = store.cell(cell.cell_id).result()
        if result is not None:
            found.append(
                Observation(
                    budget=request.budget,
                    params=request.params,
                    tokens=float(result["tokens"]),
                    flops=float(result["flops"]),
                    cost=float(cell.trained_flops),
                    loss=float(result["loss"]),
                    seed=request.seed,
                )
            )
    return found


def _any_unfinished(plan: Plan, store: Store) -> bool:
    return any(store.cell(cell.cell_id).result() is None for cell in plan.cells)


def _without_failure(cell_ids: Sequence[str], store: Store) -> list[str]:
    """Those whose folder has no reason why they did not finish."""
    return [cell_id for cell_id in cell_ids if store.cell(cell_id).failure() is None]


def _say(decision: Decision, round_number: int, foundry: Foundry) -> None:
    for line in _lines(round_number, _as_record(decision, foundry)):
        say(line)


def _write(folder: Path, foundry: Foundry, decisions: Sequence[Decision]) -> None:
    """All of them, into the sweep's folder."""
    write_json(folder / DECISIONS, [_as_record(one, foundry) for one in decisions])


def _as_record(decision: Decision, foundry: Foundry) -> dict[str, Any]:
    return {
        "actions": [
            {
                "kind": action.kind,
                "why": action.why,
                "flops": action.flops,
                "cells": [
                    {
                        "cell": foundry.cell(request).cell_id,
                        "budget": request.budget,
                        "params": request.params,
                        "seed": request.seed,
                    }
                    for request in action.requests
                ],
            }
            for action in decision.actions
        ],
        "stop": decision.stop,
    }


def _lines(round_number: int, record: dict[str, Any]) -> list[str]:
    if record["stop"] is not None:
        return [f"stop: {record['stop']}"]
    cells = sum(len(action["cells"]) for action in record["actions"])
    return [
        f"round {round_number}, {number(cells, 'cell')}:",
        *(f"  {action['kind']}: {action['why']}" for action in record["actions"]),
    ]


def decisions_text(folder: Path) -> str:
    """Every decision of the sweep, in words, as its folder has them."""
    lines = ["Decisions of the adaptive planner"]
    for i, record in enumerate(read_json(folder / DECISIONS)):
        lines += [f"  {line}" for line in _lines(i + 1, record)]
    return "\n".join(lines)
