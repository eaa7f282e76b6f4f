"""How the work on a sweep grows with its cells: counted, not timed. `benchmarks/growth.py` times it."""

from __future__ import annotations

import builtins
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scaling_runs import spec as specs
from scaling_runs import trunk as trunks
from scaling_runs.launching import todo_of
from scaling_runs.monitor import _Watch
from scaling_runs.plan import Plan
from scaling_runs.store import Store
from tests.configs import plan_of
from tests.scaling_runs.conftest import filled


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A hundred cells on trunks."""
    plan = plan_of("sweep=isoflop_small", "sweep.sizes=5", "sweep.seeds=[3]")
    assert len(plan.cells) > 100
    return plan


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often the body opens a file, lists a folder and computes a hash."""
    calls: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            calls[name] += 1
            return function(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", counting("open", builtins.open))
        patch.setattr(os, "listdir", counting("list", os.listdir))
        patch.setattr(specs, "_digest", counting("hash", specs._digest))
        yield calls


def test_each_cell_is_hashed_once(tmp_path: Path) -> None:
    """Truth: two hashes, of the cell and of its trunk, whatever asks for them on the way to training."""
    with counted() as calls:
        plan = plan_of("sweep=isoflop_small", "sweep.sizes=5", "sweep.seeds=[3]")
        planned = calls["hash"]
        store = filled(tmp_path, plan.cells)
        plan.trunks()
        todo_of(store, plan.cells, set())
        _Watch(store, plan.cells).look()
    assert calls["hash"] == planned == 2 * len(plan.cells)


def test_what_is_left_to_do_is_found_without_reading_a_file(tmp_path: Path, plan: Plan) -> None:
    """Truth: a finished cell has a result, whatever is in it."""
    store = filled(tmp_path, plan.cells)
    finished = plan.cells[::2]
    for cell in finished:
        store.cell(cell.cell_id).write_result({"loss": 1.0, "wall_s": 1.0})
    with counted() as calls:
        todo = todo_of(store, plan.cells, set())
    assert calls["open"] == 0
    assert set(todo) == {cell.cell_id for cell in plan.cells} - {cell.cell_id for cell in finished}


def test_a_look_costs_what_has_begun_and_not_what_waits_or_is_done(tmp_path: Path, plan: Plan) -> None:
    """Truth: of a hundred cells most are done, two are in the works and the rest wait."""
    store = filled(tmp_path, plan.cells)
    distinct = list(dict.fromkeys(cell.cell_id for cell in plan.cells))
    done, begun = distinct[:60], distinct[60:62]
    for cell_id in done:
        store.cell(cell_id).write_result({"loss": 1.0, "wall_s": 1.0})
    for cell_id in begun:
        store.cell(cell_id).begin_attempt()
    watch = _Watch(store, plan.cells)
    with counted() as calls:
        assert watch.look() == []
    assert calls["list"] == len(distinct) - len(done)
    assert calls["open"] == 2 * len(begun)  # progress, and no result


def test_a_trunks_forks_are_written_once(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: one file a trunk, however many cells fork from it."""
    written: list[str] = []
    write = trunks.write_json
    monkeypatch.setattr(
        trunks, "write_json", lambda path, value: (written.append(path.parent.name), write(path, value))
    )
    Store(tmp_path).add_all([cell.spec for cell in plan.cells])
    assert sorted(written) == sorted({cell.spec.trunk_id for cell in plan.cells if cell.spec.trunk_steps})
    for cells in plan.trunks():
        assert Store(tmp_path).trunk(cells[0].spec).forks() == {cell.spec.trunk_steps for cell in cells}
