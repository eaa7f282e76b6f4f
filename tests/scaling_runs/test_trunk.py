"""Cells that go on from a trunk."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import pytest
import torch

from fit.errors import UserError
from scaling_runs import meetings
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.store import CellFolder, Store
from scaling_runs.train import train_cell
from scaling_runs.trainee import trainee_of
from scaling_runs.trunk import Branch, Trunk
from tests.scaling_runs.conftest import RealText, spec_for
from tests.scaling_runs.test_train import CPU, KilledError, kill_before, less_clocks, nothing


def wsd(text: RealText, steps: int, optimizer: str = "muon") -> CellSpec:
    """A cell whose last fifth is its cooldown."""
    plain = spec_for(text.corpus)
    recipe = dataclasses.replace(
        plain.recipe,
        optimizer=optimizer,  # type: ignore[arg-type]
        muon_lr=plain.recipe.muon_lr if optimizer == "muon" else None,
        warmup_steps=4,
        cooldown_steps=steps // 5,
    )
    return dataclasses.replace(plain, recipe=recipe, steps=steps)


def train(store: Store, spec: CellSpec, text: RealText) -> tuple[float, list[dict[str, float]], int]:
    """(loss, curve less its clocks, tokens trained by the cell itself)."""
    folder = store.add(spec)
    result = train_cell(spec, text.corpus, folder, store.trunk(spec), CPU, nothing)
    return result.loss, less_clocks(folder.curve()), result.trained_tokens


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_cells_of_one_trunk_end_as_cells_trained_from_nothing_bit_for_bit(
    text: RealText, tmp_path: Path, optimizer: str
) -> None:
    """Truth: the same cells, each in a store of its own. Each trains its cooldown alone, but for the first."""
    specs = [wsd(text, steps, optimizer) for steps in (100, 60, 40)]
    together = Store(tmp_path / "together")
    for spec in specs:
        together.add(spec)
    for number, spec in enumerate(specs):
        loss, curve, trained = train(together, spec, text)
        alone_loss, alone_curve, alone_trained = train(Store(tmp_path / f"alone-{number}"), spec, text)
        assert loss == alone_loss
        assert curve[-1] == alone_curve[-1]
        assert alone_trained == spec.tokens
        cooldown = spec.recipe.cooldown_steps
        assert cooldown is not None
        assert trained == (spec.tokens if number == 0 else cooldown * spec.batch_tokens)
        steps = [record["step"] for record in curve]
        assert steps == sorted(steps)
        assert steps[0] == min(record["step"] for record in alone_curve)


def test_the_clock_of_a_curve_goes_on_at_the_fork(text: RealText, tmp_path: Path) -> None:
    """Truth: time does not run backwards; the result's own seconds are those of the cooldown alone."""
    store, large, small = Store(tmp_path), wsd(text, 100), wsd(text, 60)
    store.add(small)
    train(store, large, text)
    folder = store.add(small)
    result = train_cell(small, text.corpus, folder, store.trunk(small), CPU, nothing)
    clocks = {record["step"]: record["wall_s"] for record in folder.curve() if "wall_s" in record}
    assert list(clocks.values()) == sorted(clocks.values())
    assert result.wall_s < clocks[small.steps]
    assert result.wall_s == pytest.approx(clocks[small.steps] - clocks[small.trunk_steps], rel=0.5)


def test_a_larger_budget_that_is_asked_for_later_goes_on_from_the_last_state(
    text: RealText, tmp_path: Path
) -> None:
    """Truth: the cell trained from nothing; the trunk of the smaller one was trained up to its cooldown."""
    store, small, large = Store(tmp_path / "store"), wsd(text, 60), wsd(text, 100)
    train(store, small, text)
    store.trunk(small).keep_last()
    loss, _, trained = train(store, large, text)
    assert loss == train(Store(tmp_path / "alone"), large, text)[0]
    assert trained == (large.steps - small.trunk_steps) * large.batch_tokens


def test_a_kill_anywhere_on_the_way_changes_nothing(
    text: RealText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the same two cells undisturbed; killed on the trunk, at a fork, and in the cooldown of each."""
    monkeypatch.setattr(meetings, "SAVE_EVERY_S", -1.0)
    specs = [wsd(text, 60), wsd(text, 40)]
    undisturbed = Store(tmp_path / "undisturbed")
    for spec in specs:
        undisturbed.add(spec)
    truth = [train(undisturbed, spec, text)[:2] for spec in specs]

    kills = kill_before(monkeypatch, 20, 33, 55, 38)
    store = Store(tmp_path / "killed")
    for spec in specs:
        store.add(spec)
    told = []
    for spec in specs:
        while True:
            try:
                told.append(train(store, spec, text)[:2])
            except KilledError:
                continue
            break
    assert not kills
    assert told == truth


def test_what_differs_before_the_cooldown_has_another_trunk(text: RealText) -> None:
    """Truth: the list of what a constant rate's training, and its curve, depend on."""
    spec = wsd(text, 60)
    same = [
        wsd(text, 100),
        dataclasses.replace(
            spec, recipe=dataclasses.replace(spec.recipe, decay="sqrt", final_lr_fraction=0.1)
        ),
    ]
    other = [
        dataclasses.replace(spec, seed=7),
        dataclasses.replace(spec, val_tokens=spec.val_tokens // 2),
        dataclasses.replace(spec, flop_convention="6nd"),
        dataclasses.replace(spec, corpus="1" * 64),
        dataclasses.replace(spec, precision="bf16"),
        dataclasses.replace(spec, shape=dataclasses.replace(spec.shape, depth=3)),
        *(
            dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, **{name: value}))
            for name, value in (("lr", 0.1), ("batch_size", 9), ("warmup_steps", 5), ("beta2", 0.5))
        ),
    ]
    assert {one.trunk_id for one in same} == {spec.trunk_id}
    assert len({one.trunk_id for one in [spec, *other]}) == 1 + len(other)
    assert len({one.cell_id for one in [spec, *same, *other]}) == 1 + len(same) + len(other)


def test_a_rate_that_always_falls_has_no_trunk(text: RealText, tmp_path: Path) -> None:
    spec = spec_for(text.corpus, steps=20)
    assert spec.trunk_steps == 0
    store = Store(tmp_path)
    train(store, spec, text)
    assert not list((tmp_path / "trunks").glob("*/*.pt"))


def test_who_needs_a_trunk_that_another_trains_waits_until_it_has_passed(
    text: RealText, tmp_path: Path
) -> None:
    """Truth: the order of events: the second is let through once the first is past its cooldown's beginning."""
    spec, trunk, events = wsd(text, 60), Trunk(tmp_path), []
    first, second = Branch(trunk, wsd(text, 100), CPU), Branch(trunk, spec, CPU)

    def wait() -> None:
        with second.climb(0) as fork:
            events.append(("second", fork))

    trunk.add_forks([spec.trunk_steps])
    with first.climb(0) as fork:
        assert fork == 0
        assert first.asks_for(spec.trunk_steps)
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.1)
        assert waiting.is_alive()
        events.append(("first", fork))
        torch.save({}, trunk.state(spec.trunk_steps))
        waiting.join(10)
    assert events == [("first", 0), ("second", spec.trunk_steps)]


def test_ranks_wait_for_nobody(text: RealText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: a trunk that is held: rank 0 of two begins from what is there, and leaves no state for others."""
    spec, trunk = wsd(text, 60), Trunk(tmp_path)
    trunk.add_forks([spec.trunk_steps])
    monkeypatch.setattr(Runtime, "agree", lambda self, mine: mine)
    with trunk.claimed(spec.trunk_steps, wait=False) as held:
        assert held
        branch = Branch(trunk, spec, Runtime(world_size=2))
        with branch.climb(0) as fork:
            assert fork == 0
            assert not branch.asks_for(spec.trunk_steps)


def test_a_state_that_is_damaged_is_named(text: RealText, tmp_path: Path) -> None:
    """Truth: bytes that are no state, where a state is looked for."""
    store, spec = Store(tmp_path), wsd(text, 60)
    store.add(spec)
    state = store.trunk(spec).state(spec.trunk_steps)
    state.write_bytes(b"no state")
    with pytest.raises(UserError, match=rf"{spec.trunk_steps}\.pt is damaged .*; remove it"):
        train_cell(spec, text.corpus, CellFolder(tmp_path / "cell"), store.trunk(spec), CPU, nothing)


def test_a_cell_does_not_wait_for_who_goes_on_from_beyond_its_cooldown(
    text: RealText, tmp_path: Path
) -> None:
    """Truth: the holder's first step: it will never leave a state that lies before that."""
    small, trunk = wsd(text, 40), Trunk(tmp_path)
    torch.save({}, trunk.path / "48.pt")
    with Branch(trunk, wsd(text, 100), CPU).climb(0) as fork:
        assert fork == 48
        with Branch(trunk, small, CPU).climb(0) as none:
            assert none == 0


def test_a_state_that_vanished_is_no_fresh_start(text: RealText, tmp_path: Path) -> None:
    """Truth: weights that were trained must not go on from step 0 in silence."""
    store, spec = Store(tmp_path), wsd(text, 60)
    store.add(spec)
    with pytest.raises(UserError, match=r"48\.pt is gone"):
        trainee_of(spec, CPU).load(store.trunk(spec).state(48), must_exist=True)


def test_no_state_goes_while_another_run_trains_the_trunk(tmp_path: Path) -> None:
    trunk = Trunk(tmp_path)
    for step in (10, 20):
        torch.save({}, trunk.state(step))
    with trunk.claimed(30, wait=False):
        trunk.keep_last()
        assert trunk.states() == [10, 20]
    trunk.keep_last()
    assert trunk.states() == [20]
