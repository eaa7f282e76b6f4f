"""Rounds over a store: what is on the disk decides, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scaling_runs.adaptive.cells import plan_first_round
from scaling_runs.adaptive.rounds import DECISIONS, decisions_text, train_rounds
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.launchers import ONE_BY_ONE
from scaling_runs.plan import Plan
from scaling_runs.planning import TimedPlan, time_plan
from scaling_runs.store import Store
from tests.configs import LOCAL_CORPUS, config_of
from tests.scaling_runs.test_launching import finish

OPTIONS = (
    "sweep=isoflop_small",
    "sweep.planner=adaptive",
    "sweep.exponent_width=0.05",
    "sweep.expected_params=1e5",
    "hardware=h100",
)
"""Planned for a GPU, so that no trial is run."""


class Trainer:
    """Finishes cells by `tests.scaling_runs.test_launching.valley`, and is interrupted after `most` of them."""

    def __init__(self, store: Store, most: float = float("inf"), fails: Sequence[int] = ()) -> None:
        self.store, self.most, self.fails = store, most, fails
        self.trained: list[str] = []

    def __call__(self, timed: TimedPlan) -> None:
        for cell in timed.plan.cells:
            if self.store.cell(cell.cell_id).result() is not None:
                continue
            if len(self.trained) >= self.most:
                raise KeyboardInterrupt
            self.trained.append(cell.cell_id)
            if len(self.trained) in self.fails:
                self.store.cell(cell.cell_id).write_failure("the loss is nan")
            else:
                finish(self.store, cell, loss=bumpy(cell))


def bumpy(cell: Cell) -> float:
    """The valley of test_launching and a little noise that the cell's id decides."""
    from tests.scaling_runs.test_launching import valley

    return valley(cell) + (int(cell.cell_id, 16) % 1000 - 500) * 1e-5


def run(root: Path, trainer: Trainer, config: Config | None = None) -> tuple[Plan, list[dict[str, Any]]]:
    """The sweep, and the decisions that it wrote."""
    config = config or config_of(*OPTIONS)
    first = time_plan(plan_first_round(config, LOCAL_CORPUS, "fp32"), LOCAL_CORPUS, config, ONE_BY_ONE)
    plan = train_rounds(config, first, Store(root), trainer, ONE_BY_ONE)
    return plan, json.loads((root / "isoflop_small" / DECISIONS).read_text())


def test_every_decision_is_written_with_its_cells_and_its_words(tmp_path: Path) -> None:
    """Truth: the cells that were trained, in the order of the decisions; the last says why it stops."""
    trainer = Trainer(Store(tmp_path))
    plan, decisions = run(tmp_path, trainer)
    asked = [
        one["cell"] for decision in decisions for action in decision["actions"] for one in action["cells"]
    ]
    assert asked == trainer.trained == [cell.cell_id for cell in plan.cells]
    assert [decision["stop"] is None for decision in decisions] == [True] * (len(decisions) - 1) + [False]
    text = decisions_text(tmp_path / "isoflop_small")
    for decision in decisions[:-1]:
        assert all(action["why"] in text for action in decision["actions"])
    assert f"stop: {decisions[-1]['stop']}" in text


@pytest.mark.parametrize("most", [3, 16])
def test_a_sweep_that_is_cut_off_in_the_midst_of_a_round_comes_to_the_same_decisions(
    tmp_path: Path, most: int
) -> None:
    """Truth: the decisions and the cells of the same sweep, undisturbed; no cell is trained twice."""
    whole_plan, whole = run(tmp_path / "whole", Trainer(Store(tmp_path / "whole")))
    cut = tmp_path / "cut"
    first = Trainer(Store(cut), most=most)
    with pytest.raises(KeyboardInterrupt):
        run(cut, first)
    second = Trainer(Store(cut))
    plan, decisions = run(cut, second)
    assert decisions == whole
    assert plan == whole_plan
    assert sorted(first.trained + second.trained) == sorted(cell.cell_id for cell in plan.cells)


def test_a_finished_sweep_trains_nothing_more(tmp_path: Path) -> None:
    """Truth: the trainer is not even called."""
    _, decisions = run(tmp_path, Trainer(Store(tmp_path)))
    again = Trainer(Store(tmp_path))
    assert run(tmp_path, again)[1] == decisions
    assert again.trained == []


def test_cells_that_fail_are_asked_for_once_and_the_sweep_ends(tmp_path: Path) -> None:
    """Truth: each cell at most once, those that failed among them."""
    trainer = Trainer(Store(tmp_path), fails=(2, 8, 9))
    plan, decisions = run(tmp_path, trainer)
    assert decisions[-1]["stop"] is not None
    assert len(set(trainer.trained)) == len(trainer.trained) == len(plan.cells)


def test_where_a_cell_is_neither_finished_nor_failed_nothing_more_is_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: what another process trains will be known later; a decision without it would not be the same then."""

    def all_but_one(timed: TimedPlan) -> None:
        for cell in timed.plan.cells[1:]:
            finish(Store(tmp_path), cell)

    config = config_of(*OPTIONS)
    first = time_plan(plan_first_round(config, LOCAL_CORPUS, "fp32"), LOCAL_CORPUS, config, ONE_BY_ONE)
    plan = train_rounds(config, first, Store(tmp_path), all_but_one, ONE_BY_ONE)
    assert plan.cells == first.plan.cells
    assert f"['{plan.cells[0].cell_id}'] was not trained" in capsys.readouterr().out
