"""One cell, start to end."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fit.errors import UserError
from models.loss import NextTokenLoss
from scaling_runs import meetings
from scaling_runs.data import Corpus, validation_windows
from scaling_runs.meter import CellFailed
from scaling_runs.recipe import RecipeConfig, resolve
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.stopping import Preempted
from scaling_runs.store import CellFolder, Record
from scaling_runs.train import PROBE_SHARE, Result, TrainStep, evaluate, train_cell
from scaling_runs.trunk import Trunk
from tests.scaling_runs.conftest import RealText, spec_for, untrained

CPU = Runtime()


class KilledError(BaseException):
    """As KeyboardInterrupt: no part of a cell may catch it."""


def kill_before(monkeypatch: pytest.MonkeyPatch, *steps: int) -> set[int]:
    """From here on training is killed before each of `steps`, once; those that are still to come."""
    step_fn, to_come = TrainStep.__call__, set(steps)

    def dying(self: TrainStep, windows: object, step: int) -> object:
        if step in to_come:
            to_come.remove(step)
            raise KilledError
        return step_fn(self, windows, step)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainStep, "__call__", dying)
    return to_come


def nothing(record: Record) -> None:
    pass


def trained(
    spec: CellSpec, text: RealText, path: Path, observe: Callable[[Record], None] = nothing
) -> tuple[Result, list[Record], dict[str, torch.Tensor]]:
    """(result, learning curve, final weights): a checkpoint is kept at each record."""
    folder = CellFolder(path)
    result = train_cell(spec, text.corpus, folder, Trunk(path), CPU, observe)
    return result, folder.curve(), torch.load(folder.checkpoint)["model"]


def less_clocks(curve: list[Record]) -> list[Record]:
    """What does not depend on how fast the machine is."""
    clocks = ("wall_s", "tokens_per_s", "mfu")
    return [{name: value for name, value in record.items() if name not in clocks} for record in curve]


@pytest.fixture
def checkpoints_at_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meetings, "SAVE_EVERY_S", -1.0)
    monkeypatch.setattr(meetings, "MAX_SAVE_SHARE", math.inf)


def test_training_on_real_text_lowers_the_loss(text: RealText, spec: CellSpec, tmp_path: Path) -> None:
    """Truth: ln(257) = 5.55 nats before; 3.3 is the entropy of the letters alone, counted on the corpus itself."""
    counts = np.bincount(text.corpus.train(), minlength=257) / text.corpus.train_tokens
    unigram_entropy = -float((counts[counts > 0] * np.log(counts[counts > 0])).sum())
    result = train_cell(spec, text.corpus, CellFolder(tmp_path), Trunk(tmp_path), CPU, nothing)
    assert result.loss < unigram_entropy < math.log(257)
    assert result.loss_se is not None
    assert 0 < result.loss_se < 0.1
    curve = CellFolder(tmp_path).curve()
    train_losses = [record["train_loss"] for record in curve if "train_loss" in record]
    assert train_losses[0] == pytest.approx(math.log(257), abs=0.05)
    assert np.mean(train_losses[-20:]) == pytest.approx(result.loss, abs=0.5)


def test_the_curve_holds_every_loss_against_step_tokens_and_flops(
    text: RealText, spec: CellSpec, tmp_path: Path
) -> None:
    """Truth: the spec: tokens and FLOPs go up by the same at each step, to D and C at the end."""
    seen: list[Record] = []
    result = train_cell(spec, text.corpus, CellFolder(tmp_path), Trunk(tmp_path), CPU, seen.append)
    curve = CellFolder(tmp_path).curve()
    assert seen == curve
    for record in curve:
        assert record["tokens"] == record["step"] * spec.batch_tokens
        assert record["flops"] == record["step"] * spec.flops // spec.steps
    probes = [record for record in curve if "val_loss_probe" in record]
    assert [record["step"] for record in probes] == [24, 48, 72, 96, 120]
    assert [record["val_loss"] for record in curve if "val_loss" in record] == [result.loss]
    assert (curve[-1]["tokens"], curve[-1]["flops"]) == (spec.tokens, spec.flops)
    falling = [record["val_loss_probe"] for record in probes]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.usefixtures("checkpoints_at_each_record")
def test_the_final_loss_is_that_of_the_final_weights_on_the_fixed_validation_set(
    text: RealText, spec: CellSpec, tmp_path: Path
) -> None:
    """Truth: the weights of the last checkpoint, evaluated anew on all windows and on every 32nd."""
    result, curve, weights = trained(spec, text, tmp_path)
    model = untrained(spec, seed=9)
    model.load_state_dict(weights)
    network = NextTokenLoss(model)
    windows = validation_windows(text.corpus, spec.seq_len, spec.val_tokens)
    assert evaluate(network, windows, spec, CPU).loss == pytest.approx(result.loss, abs=1e-6)
    probe = evaluate(network, windows[::PROBE_SHARE], spec, CPU).loss
    assert curve[-1]["val_loss_probe"] == pytest.approx(probe, abs=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.usefixtures("checkpoints_at_each_record")
def test_a_cell_that_is_killed_and_resumed_ends_as_one_that_never_was(
    text: RealText, tmp_path: Path, optimizer: str
) -> None:
    """Truth: the uninterrupted cell: final loss by ==, weights by torch.equal, every record of the curve by ==.

    Killed before there is a checkpoint, between one and the next, so that steps are done again, in an evaluation on the
    way, and after the last record, when nothing is missing but the result.
    """
    recipe = resolve(RecipeConfig(optimizer=optimizer, lr=6e-3), params=5_000, batch=4, seq_len=32, steps=250)
    spec = spec_for(text.corpus, recipe=recipe, steps=250)
    whole, whole_curve, whole_weights = trained(spec, text, tmp_path / "whole")

    def kill_at(step: int, name: str) -> Callable[[Record], None]:
        def observe(record: Record) -> None:
            if record["step"] == step and name in record:
                raise KilledError

        return observe

    path = tmp_path / "parts"
    for step, name in ((2, "lr"), (52, "lr"), (150, "val_loss_probe"), (250, "val_loss")):
        with pytest.raises(KilledError):
            trained(spec, text, path, kill_at(step, name))
    assert CellFolder(path).checkpoint.exists()
    seen: list[Record] = []
    parts, parts_curve, parts_weights = trained(spec, text, path, seen.append)
    assert parts.loss == whole.loss
    assert less_clocks(parts_curve) == less_clocks(whole_curve)
    assert seen == parts_curve  # W&B's run is whole as well
    assert all(torch.equal(whole_weights[name], parts_weights[name]) for name in whole_weights)
    assert parts.wall_s > 0


@pytest.mark.usefixtures("checkpoints_at_each_record")
def test_a_resumed_cell_does_not_begin_anew(text: RealText, spec: CellSpec, tmp_path: Path) -> None:
    """Truth: the records that are kept; only the steps after them are trained."""
    written: list[float] = []

    def kill_at_100(record: Record) -> None:
        written.append(record["step"])
        if record["step"] == 100:
            raise KilledError

    with pytest.raises(KilledError):
        trained(spec, text, tmp_path, kill_at_100)
    clocks = {record["step"]: record.get("wall_s") for record in CellFolder(tmp_path).curve()}
    _, curve, _ = trained(spec, text, tmp_path)
    for record in curve:
        if record["step"] < 99 and "wall_s" in record:
            assert record["wall_s"] == clocks[record["step"]]
    walls = [record["wall_s"] for record in curve if "wall_s" in record]
    assert walls == sorted(walls)  # the seconds of both attempts


@pytest.mark.usefixtures("checkpoints_at_each_record")
def test_a_cell_that_is_told_to_end_saves_at_that_very_step_and_goes_on_as_if_it_had_not_been(
    text: RealText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the undisturbed cell, whose records tell of five steps each; it is told in the midst of two of them."""
    recipe = resolve(RecipeConfig(optimizer="adamw", lr=6e-3), params=5_000, batch=4, seq_len=32, steps=500)
    spec = spec_for(text.corpus, recipe=recipe, steps=500)
    whole, whole_curve, _ = trained(spec, text, tmp_path / "whole")
    path, taken = tmp_path / "parts", 0

    def told() -> bool:
        nonlocal taken
        taken += 1
        return taken in (13, 33)

    monkeypatch.setattr(meetings, "asked", told)
    for _ in range(2):
        with pytest.raises(Preempted):
            trained(spec, text, path)
    parts, parts_curve, _ = trained(spec, text, path)
    assert taken == 500  # no step was done again
    assert parts.loss == whole.loss
    assert less_clocks(parts_curve) == less_clocks(whole_curve)


@pytest.mark.parametrize("steps", [120, 500])
def test_a_cell_that_diverges_fails_with_its_reason(text: RealText, tmp_path: Path, steps: int) -> None:
    """Truth: weights that overflow with the first step, as a learning rate near the largest float makes them."""
    recipe = dataclasses.replace(spec_for(text.corpus).recipe, lr=1e38, muon_lr=1e38)
    spec = spec_for(text.corpus, recipe=recipe, steps=steps)
    with pytest.raises(CellFailed, match=r"^the .+ is (nan|inf) at step \d+, .*recipe\.lr") as caught:
        train_cell(spec, text.corpus, CellFolder(tmp_path), Trunk(tmp_path), CPU, nothing)
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


def test_an_evaluation_that_finds_nan_first_fails_the_cell_in_the_same_words(
    text: RealText, spec: CellSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: weights that become NaN in the very step before an evaluation, whose training loss was still a number."""
    step_fn = TrainStep.__call__

    def spoil(self: TrainStep, windows: np.ndarray, step: int) -> tuple[torch.Tensor, torch.Tensor, float]:
        figures = step_fn(self, windows, step)
        if step + 1 == 24:
            with torch.no_grad():
                self.parameters[0].fill_(math.nan)
        return figures

    monkeypatch.setattr(TrainStep, "__call__", spoil)
    with pytest.raises(CellFailed, match=r"^the validation loss is nan at step 24, "):
        train_cell(spec, text.corpus, CellFolder(tmp_path), Trunk(tmp_path), CPU, nothing)


def test_another_seed_gives_another_loss_and_the_same_seed_the_same(
    text: RealText, spec: CellSpec, tmp_path: Path
) -> None:
    short = dataclasses.replace(spec, steps=40)
    losses = [
        train_cell(
            dataclasses.replace(short, seed=seed),
            text.corpus,
            CellFolder(tmp_path / name),
            Trunk(tmp_path),
            CPU,
            nothing,
        ).loss
        for seed, name in ((0, "a"), (0, "b"), (1, "c"))
    ]
    assert losses[0] == losses[1] != losses[2]


GOLDEN = {"adamw": 1.6442, "muon": 1.5964}


@pytest.mark.parametrize("optimizer", sorted(GOLDEN))
def test_a_cell_ends_at_the_loss_that_it_always_did(tmp_path: Path, optimizer: str) -> None:
    """Truth: losses measured on text that is the same everywhere: a change of recipe moves them, rounding does not."""
    corpus = words_corpus(tmp_path)
    recipe = resolve(RecipeConfig(optimizer=optimizer, lr=6e-3), params=5_000, batch=4, seq_len=32, steps=120)
    spec = spec_for(corpus, recipe=recipe)
    loss = train_cell(spec, corpus, CellFolder(tmp_path / "cell"), Trunk(tmp_path), CPU, nothing).loss
    assert loss == pytest.approx(GOLDEN[optimizer], abs=2e-3)


def words_corpus(folder: Path) -> Corpus:
    """40,000 bytes of the field's words, each chosen by a hash, which no machine or version draws otherwise."""
    words = ["budget", "cell", "shape", "ladder", "tokens", "compute", "optimum", "exponent", "seed", "trunk"]
    chosen = (words[hashlib.sha256(str(i).encode()).digest()[0] % len(words)] for i in range(8000))
    text = np.frombuffer(" ".join(chosen).encode()[:40_000], dtype=np.uint8).astype(np.uint16)
    text[:30_000].tofile(folder / "train.bin")
    text[30_000:].tofile(folder / "val.bin")
    return Corpus(folder, "0" * 64, "words", 257, "uint16", 30_000, 10_000, 1, 1, 1.0)
