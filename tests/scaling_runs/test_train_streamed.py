"""Cells that train on a stream, and on a mixture of streamed and prepared text: killed, gone on with, on a trunk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from scaling_runs.data import DataConfig, validation_counts
from scaling_runs.data.config import PartConfig
from scaling_runs.data.prepare import prepare
from scaling_runs.store import Store
from scaling_runs.train import train_cell
from tests.scaling_runs.conftest import RealText
from tests.scaling_runs.data.streams import stream_config, write_data_set
from tests.scaling_runs.test_train import CPU, KilledError, kill_before, nothing, trained
from tests.scaling_runs.test_train import checkpoints_at_each_record as checkpoints_at_each_record
from tests.scaling_runs.test_trunk import train, wsd


@pytest.fixture(scope="module")
def stream(text: RealText, tmp_path_factory: pytest.TempPathFactory) -> RealText:
    """The same sources, a row each, in four files."""
    import json

    rows = [json.loads(line)["text"] for line in text.path.open()]
    folder = tmp_path_factory.mktemp("streamed")
    files = [rows[first::4] for first in range(4)]
    path = write_data_set(folder / "texts", files)
    cache = folder / "cache"
    return RealText(path, cache, prepare(stream_config(path, cache), 8192))


@pytest.fixture(scope="module")
def mixture(stream: RealText, text: RealText) -> RealText:
    """Two parts of the stream, one of the prepared text."""
    parts = [
        PartConfig(name="streamed", weight=2, hf_path=str(stream.path), on_disk=False, train_tokens=10_000),
        PartConfig(name="prepared", weight=1, paths=[str(text.path)]),
    ]
    config = DataConfig("mixture", parts=parts, val_fraction=0.25, cache_dir=str(stream.cache))
    return RealText(stream.path, stream.cache, prepare(config, 8192))


@pytest.fixture(params=["stream", "mixture"])
def data(request: pytest.FixtureRequest) -> RealText:
    found: RealText = request.getfixturevalue(request.param)
    return found


@pytest.mark.usefixtures("checkpoints_at_each_record")
def test_a_killed_cell_reads_on_where_it_was(
    data: RealText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the cell that nothing disturbed, to the last digit."""
    spec = wsd(data, 60)
    spec = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, cooldown_steps=None))
    whole, _, weights = trained(spec, data, tmp_path / "whole")
    left = kill_before(monkeypatch, 17, 41)
    while left:
        with pytest.raises(KilledError):
            trained(spec, data, tmp_path / "killed")
    result, curve, again = trained(spec, data, tmp_path / "killed")
    assert result.loss == whole.loss
    assert all((again[name] == weights[name]).all() for name in weights)
    assert [record["step"] for record in curve] == sorted(record["step"] for record in curve)


def test_a_cell_goes_on_from_the_place_of_its_trunk(data: RealText, tmp_path: Path) -> None:
    """Truth: the same cell from nothing, bit for bit; of its own it trains the cooldown alone."""
    large, small = wsd(data, 60), wsd(data, 40)
    store = Store(tmp_path / "together")
    for spec in (large, small):
        store.add(spec)
    train(store, large, data)
    loss, _, tokens = train(store, small, data)
    assert loss == train(Store(tmp_path / "alone"), small, data)[0]
    assert tokens == (small.recipe.cooldown_steps or 0) * small.batch_tokens


def test_a_stream_trains_as_well_as_the_same_text_on_disk(
    stream: RealText, text: RealText, tmp_path: Path
) -> None:
    """Truth: the loss of the same spec on the prepared text, whose windows are shuffled and whose split is another."""
    losses = [
        train_cell(
            dataclasses.replace(wsd(data, 120), val_tokens=8192),
            data.corpus,
            Store(tmp_path / name).add(wsd(data, 120)),
            Store(tmp_path / name).trunk(wsd(data, 120)),
            CPU,
            nothing,
        ).loss
        for name, data in (("stream", stream), ("disk", text))
    ]
    assert abs(losses[0] - losses[1]) < 0.3


def test_the_loss_on_a_mixture_is_its_parts_by_their_shares(mixture: RealText, tmp_path: Path) -> None:
    """Truth: the losses of the parts, weighted by the windows that each has of the validation set."""
    spec = wsd(mixture, 20)
    store = Store(tmp_path)
    result = train_cell(spec, mixture.corpus, store.add(spec), store.trunk(spec), CPU, nothing)
    counts = validation_counts(mixture.corpus, spec.val_tokens // spec.seq_len)
    assert counts == [85, 43]
    assert list(result.loss_of_parts) == ["streamed", "prepared"]
    weighted = sum(loss * count for loss, count in zip(result.loss_of_parts.values(), counts, strict=True))
    assert result.loss == pytest.approx(weighted / sum(counts), rel=1e-12)
    assert len(set(result.loss_of_parts.values())) == 2
