"""Cells that train on a stream: killed, gone on with, on a trunk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

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


@pytest.mark.usefixtures("checkpoints_at_each_record")
def test_a_killed_cell_reads_on_where_it_was(
    stream: RealText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the cell that nothing disturbed, to the last digit."""
    spec = wsd(stream, 60)
    spec = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, cooldown_steps=None))
    whole, _, weights = trained(spec, stream, tmp_path / "whole")
    left = kill_before(monkeypatch, 17, 41)
    while left:
        with pytest.raises(KilledError):
            trained(spec, stream, tmp_path / "killed")
    result, curve, again = trained(spec, stream, tmp_path / "killed")
    assert result.loss == whole.loss
    assert all((again[name] == weights[name]).all() for name in weights)
    assert [record["step"] for record in curve] == sorted(record["step"] for record in curve)


def test_a_cell_goes_on_from_the_place_of_its_trunk(stream: RealText, tmp_path: Path) -> None:
    """Truth: the same cell from nothing, bit for bit; of its own it trains the cooldown alone."""
    large, small = wsd(stream, 60), wsd(stream, 40)
    store = Store(tmp_path / "together")
    for spec in (large, small):
        store.add(spec)
    train(store, large, stream)
    loss, _, tokens = train(store, small, stream)
    assert loss == train(Store(tmp_path / "alone"), small, stream)[0]
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
