"""What a worker does with a cell, and the row that comes of it."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import get_num_threads

from fit.errors import UserError
from fit.table import load_runs
from models.flops import params, train_flops_per_token
from models.shapes import Shape
from scaling_runs import meetings, train
from scaling_runs.conclusion import to_csv
from scaling_runs.config import Config
from scaling_runs.job import bits_per_byte, result_row, run_cell, run_job
from scaling_runs.meter import CellFailed
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec
from scaling_runs.store import CellBusy, CellFolder, Record, Store
from scaling_runs.train import Result
from tests.configs import config_of
from tests.scaling_runs.conftest import RealText, spec_for
from tests.scaling_runs.test_trunk import wsd

CONTRACT_1 = (
    "flops params tokens loss seed run_id width depth heads kv_heads mlp_width vocab_size params_all "
    "params_no_embedding params_body flops_exact flops_6nd unique_tokens bits_per_byte lr batch_tokens steps "
    "wall_s mfu corpus status"
)
"""Every column of the run table but `budget`, which the plan knows and a cell does not."""


def quiet(text: RealText, store: Path, *options: str) -> Config:
    return config_of("tracking=off", f"store={store}", *text.options, *options)


@pytest.fixture
def short(text: RealText) -> CellSpec:
    """A cell of a fraction of a second."""
    return spec_for(text.corpus, steps=10, val_tokens=256)


# ---- run_cell


def test_a_cell_is_trained_once_and_then_found(text: RealText, short: CellSpec, tmp_path: Path) -> None:
    """Truth: its files: a second run touches none of them, though a second training would take other seconds."""
    folder, config = Store(tmp_path).add(short), quiet(text, tmp_path)
    row = run_cell(folder, config)
    assert folder.result() == row
    before = {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir() if path.name != ".lock"}
    assert run_cell(folder, config) == row
    after = {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir() if path.name != ".lock"}
    assert after == before


def test_a_cell_trains_with_the_threads_that_were_asked_for(
    text: RealText, short: CellSpec, tmp_path: Path
) -> None:
    run_cell(Store(tmp_path).add(short), quiet(text, tmp_path, "threads=1"))
    assert get_num_threads() == 1


def test_a_failure_is_written_down_with_its_reason_and_raised(text: RealText, tmp_path: Path) -> None:
    recipe = dataclasses.replace(spec_for(text.corpus).recipe, lr=1e38, muon_lr=1e38)
    folder = Store(tmp_path).add(spec_for(text.corpus, recipe=recipe))
    with pytest.raises(CellFailed) as caught:
        run_cell(folder, quiet(text, tmp_path))
    assert folder.status() == "failed"
    assert folder.failure() == str(caught.value)
    assert "Traceback" in json.loads((folder.path / "failure.json").read_text())["details"]
    assert folder.result() is None


def test_a_cell_that_failed_is_tried_again_on_the_next_run(
    text: RealText, short: CellSpec, tmp_path: Path
) -> None:
    """Truth: a corpus that is not there, and then is."""
    folder = Store(tmp_path).add(short)
    gone = quiet(text, tmp_path, f"data.cache_dir={tmp_path / 'nowhere'}")
    for _ in range(2):
        with pytest.raises(UserError, match="is not in"):
            run_cell(folder, gone)
        assert "is not in" in str(folder.failure())
    row = run_cell(folder, quiet(text, tmp_path))
    assert row["status"] == "finished"
    assert (folder.status(), folder.failure()) == ("finished", None)


def test_an_interrupted_cell_has_not_failed(
    text: RealText, short: CellSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: Ctrl-C in the middle of training."""

    def interrupt(*figures: object) -> Record:
        raise KeyboardInterrupt

    folder = Store(tmp_path).add(short)
    monkeypatch.setattr(train.Meter, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_cell(folder, quiet(text, tmp_path))
    monkeypatch.undo()
    assert (folder.status(), folder.failure()) == ("running", None)
    assert run_cell(folder, quiet(text, tmp_path))["status"] == "finished"


def test_a_cell_that_another_worker_trains_is_left_to_it(
    text: RealText, short: CellSpec, tmp_path: Path
) -> None:
    """Truth: the other worker's folder, in which this one must not write that the cell failed."""
    folder, raised = Store(tmp_path).add(short), []

    def second_worker() -> None:
        try:
            run_cell(folder, quiet(text, tmp_path))
        except CellBusy as busy:
            raised.append(busy)

    with folder.lock():
        folder.begin_attempt()
        thread = threading.Thread(target=second_worker)
        thread.start()
        thread.join()
    assert len(raised) == 1
    assert (folder.status(), folder.failure()) == ("running", None)


def test_a_cell_that_is_not_in_the_store_is_named(text: RealText, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cell 'abc' is not in the store"):
        run_cell(Store(tmp_path).cell("abc"), quiet(text, tmp_path))


# ---- run_job


def test_one_cell_from_the_command_line_says_what_it_gave(
    text: RealText, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: its row in the store."""
    options = ("budget=1e9", "model.width=16", "val_tokens=1024", "recipe.batch_tokens=512")
    run_job(quiet(text, tmp_path, *options))
    (folder,) = (tmp_path / "cells").iterdir()
    row = CellFolder(folder).result()
    assert row is not None
    said = capsys.readouterr().out
    assert f"loss {row['loss']:.4f} nats/token, {row['bits_per_byte']:.4f} bits/byte" in said
    assert f"files: {folder}" in said
    assert row["flops"] == pytest.approx(1e9, rel=0.02)
    run_job(
        quiet(text, tmp_path, f"cell={folder.name}")
    )  # as a sweep starts it: there already, nothing to say
    assert capsys.readouterr().out == ""


def test_what_is_wrong_with_one_cell_is_said_when_it_is_trained(
    text: RealText, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: the steps of the cell, fewer than a schedule needs."""
    run_job(
        quiet(text, tmp_path, "budget=1e8", "model.width=16", "val_tokens=1024", "recipe.batch_tokens=512")
    )
    assert "few-steps at 1e+08 FLOPs: w16-d2-h2 takes " in capsys.readouterr().out


def test_a_damaged_checkpoint_is_why_its_cell_failed(text: RealText, short: CellSpec, tmp_path: Path) -> None:
    """Truth: the sentence is in the folder for the sweep to report, with the file to remove."""
    folder = Store(tmp_path).add(short)
    folder.checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"checkpoint\.pt is damaged"):
        run_cell(folder, quiet(text, tmp_path))
    assert str(folder.checkpoint) in (folder.failure() or "")


def test_a_state_of_the_trunk_that_is_damaged_costs_time_and_nothing_else(
    text: RealText, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: the same cell without any state; the bytes are kept under another name."""
    spec = wsd(text, 60)
    row = run_cell(Store(tmp_path / "alone").add(spec), quiet(text, tmp_path / "alone"))
    store = Store(tmp_path / "store")
    folder, trunk = store.add(spec), store.trunk(spec)
    trunk.state(30).write_bytes(b"no state")
    again = run_cell(folder, quiet(text, tmp_path / "store"))
    assert again["loss"] == row["loss"]
    assert (trunk.path / "30.pt.damaged").read_bytes() == b"no state"
    assert "30.pt is damaged, and is now 30.pt.damaged" in capsys.readouterr().out


def test_a_dry_run_of_one_cell_trains_nothing(
    text: RealText, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_job(
        quiet(text, tmp_path / "store", "budget=1e9", "model.width=16", "val_tokens=1024", "dry_run=true")
    )
    assert "w16" in capsys.readouterr().out
    assert not (tmp_path / "store" / "cells").exists()


# ---- the row


def row_of(spec: CellSpec, text: RealText, **changes: object) -> dict[str, Any]:
    result = Result(
        loss=2.0, loss_se=0.01, wall_s=4.0, trained_tokens=spec.tokens, loss_of_parts={"web": 1.5}
    )
    return result_row(spec, text.corpus, dataclasses.replace(result, **changes), Runtime())  # type: ignore[arg-type]


def test_the_row_has_every_column_of_the_run_table(text: RealText, short: CellSpec, tmp_path: Path) -> None:
    """Truth: contract 1 of the design; and the fit reads it, from CSV, with no column mapped and nothing derived."""
    row = run_cell(Store(tmp_path).add(short), quiet(text, tmp_path))
    assert set(CONTRACT_1.split()) <= row.keys()
    assert None not in row.values()
    assert not [column for column in row if column.startswith("loss_") and column != "loss_se"]
    assert row_of(short, text)["loss_web"] == 1.5
    (tmp_path / "runs.csv").write_text(to_csv([{"budget": 1e9, **row}]))
    table = load_runs(tmp_path / "runs.csv")
    assert table.notes == ()
    assert (table.loss[0], table.params[0], table.tokens[0], table.flops[0]) == (
        row["loss"],
        row["params"],
        short.tokens,
        short.flops,
    )


@pytest.mark.parametrize("convention", ["exact", "6nd"])
def test_the_rows_figures_are_the_formulas_of_its_shape(text: RealText, convention: str) -> None:
    """Truth: models.flops, and the definitions of tokens, steps, batch and utilisation."""
    spec = spec_for(text.corpus, flop_convention=convention, shape=Shape("llama", 32, 3, 4, 2, 96, 257))
    row = row_of(spec, text)
    assert row["tokens"] == row["steps"] * row["batch_tokens"] == 120 * 4 * 32
    assert row["flops_exact"] == row["tokens"] * train_flops_per_token(spec.shape, 32, "exact")
    assert row["flops_6nd"] == 6 * row["params_all"] * row["tokens"]
    assert row["flops"] == row[f"flops_{convention}"] == spec.flops
    for name in ("all", "no_embedding", "body"):
        assert row[f"params_{name}"] == params(spec.shape, 32, name)
    assert row["params"] == row["params_no_embedding" if convention == "exact" else "params_all"]
    assert (row["width"], row["depth"], row["heads"], row["kv_heads"]) == (32, 3, 4, 2)
    assert row["tokens_per_s"] == row["tokens"] / 4
    peak = Runtime().peak_flops_per_s
    assert row["mfu"] == pytest.approx(row["flops_exact"] / 4 / peak, abs=1e-5)
    assert (row["run_id"], row["status"], row["ranks"]) == (spec.cell_id, "finished", 1)
    assert text.corpus.fingerprint.startswith(row["corpus"])


def test_unique_tokens_are_no_more_than_the_corpus_holds(text: RealText) -> None:
    """Truth: a first pass sees each token once; from the second on nothing is new."""
    corpus_tokens = text.corpus.train_tokens
    once = spec_for(text.corpus, steps=corpus_tokens // 128 // 2)
    twice = spec_for(text.corpus, steps=corpus_tokens // 128 * 2)
    assert row_of(once, text)["unique_tokens"] == once.tokens
    assert row_of(twice, text)["unique_tokens"] == corpus_tokens < twice.tokens


def test_a_validation_set_of_one_window_still_gives_a_row(text: RealText, tmp_path: Path) -> None:
    """Truth: contract 1 is JSON and CSV, neither of which knows NaN: no standard error is an empty field."""
    spec = spec_for(text.corpus, steps=5, val_tokens=32)
    row = run_cell(Store(tmp_path).add(spec), quiet(text, tmp_path))
    assert math.isfinite(row["loss"])
    assert row["loss_se"] is None


@given(st.floats(0.01, 20), st.floats(0.5, 10))
def test_bits_per_byte_is_the_text_in_bits_over_the_text_in_bytes(
    loss: float, bytes_per_token: float
) -> None:
    """Truth: 1,000 tokens cost 1,000 x loss nats, a bit is ln 2 nats, and they are 1,000 x bytes_per_token bytes."""
    bits, size = 1000 * loss / math.log(2), 1000 * bytes_per_token
    assert bits_per_byte(loss, bytes_per_token) == pytest.approx(bits / size, rel=1e-12)


def test_a_uniform_guess_of_bytes_costs_eight_bits_a_byte() -> None:
    assert bits_per_byte(math.log(256), 1.0) == pytest.approx(8.0)


def test_the_weights_of_a_finished_cell_take_no_room(
    text: RealText, short: CellSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meetings, "SAVE_EVERY_S", -1.0)  # it has some until then
    folder = Store(tmp_path).add(short)
    run_cell(folder, quiet(text, tmp_path))
    names = {path.name for path in folder.path.iterdir()} - {".lock"}
    assert names == {"spec.json", "attempts.jsonl", "metrics.jsonl", "result.json"}
