"""The edge of planning: the corpus that is there, the machine that is timed, the store that can be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fit.errors import UserError
from scaling_runs.config import Config
from scaling_runs.planning import make_plan
from tests.configs import config_of, plan_of
from tests.scaling_runs.conftest import RealText

SWEEP = ["sweep=isoflop_tiny", "val_tokens=4096"]
CELL = ["budget=1e9", "model.width=16", "val_tokens=4096"]


def config_on(text: RealText, *overrides: str) -> Config:
    return config_of(*text.options, *overrides)


def test_a_plan_is_of_the_corpus_that_was_prepared(text: RealText, tmp_path: Path) -> None:
    """Truth: the prepared corpus itself."""
    timed = make_plan(config_on(text, *CELL, f"store={tmp_path}"))
    assert (timed.corpus.fingerprint, timed.corpus.vocab_size) == (text.corpus.fingerprint, 257)
    (cell,) = timed.plan.cells
    assert cell.spec.corpus == text.corpus.fingerprint
    assert cell.epochs == cell.spec.tokens / text.corpus.train_tokens


def test_every_cell_of_a_plan_is_timed(text: RealText, tmp_path: Path) -> None:
    """Truth: the cells' ids; no cell takes no time, and side by side the whole takes no longer than one by one."""
    timed = make_plan(config_on(text, *SWEEP, f"store={tmp_path}"))
    times = timed.estimate.cell_s
    assert set(times) == {cell.cell_id for cell in timed.plan.cells}
    assert min(times.values()) > 0
    assert max(times.values()) <= timed.estimate.total_s <= sum(times.values())


def test_a_dry_run_makes_no_store_and_a_real_one_does(text: RealText, tmp_path: Path) -> None:
    """Truth: the folder's being there."""
    store = tmp_path / "deep" / "store"
    make_plan(config_on(text, *CELL, f"store={store}", "dry_run=true"))
    assert not store.parent.exists()
    make_plan(config_on(text, *CELL, f"store={store}"))
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("store", ["file", "file/below", "/proc/nowhere"])
def test_a_store_that_cannot_be_written_is_told_before_anything_is_trained(
    text: RealText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """Truth: a file stands where the folder should be, or the file system takes no folders."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(
        UserError, match=rf"store '{store}' can't be made, or written to \(.+\); choose another"
    ):
        make_plan(config_on(text, *CELL, f"store={store}"))
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("val_tokens=50000000", "val_tokens is 50000000, and the validation split holds"),
        ("val_tokens=63", "val_tokens is 63"),
        ("model.seq_len=500000", "a window of 500000"),
    ],
)
def test_a_corpus_too_small_is_told_before_anything_is_trained(
    text: RealText, tmp_path: Path, override: str, said: str
) -> None:
    """Truth: windows that the corpus holds: a sweep would find out in each of its cells, and fail at all."""
    with pytest.raises(UserError, match=said):
        make_plan(config_on(text, *SWEEP, f"store={tmp_path / 'store'}", override))
    assert not (tmp_path / "store").exists()


def test_a_training_side_smaller_than_two_windows_is_told(tmp_path: Path) -> None:
    """Truth: twenty documents of two bytes are some twenty tokens, and a window is 64."""
    path = tmp_path / "short.jsonl"
    path.write_text("".join(json.dumps({"text": f"{i}"}) + "\n" for i in range(20)))
    options = [
        "data=text_files",
        f"data.paths=[{path}]",
        f"data.cache_dir={tmp_path}",
        "data.val_fraction=0.5",
    ]
    with pytest.raises(UserError, match="training tokens, fewer than two windows of 64"):
        make_plan(config_of(*options, *CELL, f"store={tmp_path / 'store'}"))


def test_a_dry_run_of_a_data_set_that_is_not_here_takes_what_its_config_declares(tmp_path: Path) -> None:
    """Truth: the declared numbers; without them the sentence asks for them."""
    options = ["sweep=isoflop_gpu", "dry_run=true", f"data.cache_dir={tmp_path}"]
    timed = make_plan(config_of(*options))
    assert (timed.corpus.vocab_size, timed.corpus.train_tokens) == (50257, 10_000_000_000)
    assert {cell.spec.precision for cell in timed.plan.cells} == {"bf16"}
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        UserError, match=r"is not prepared .* declare data\.vocab_size and data\.train_tokens"
    ):
        make_plan(config_of(*options, "data.train_tokens=null"))
    as_bytes = make_plan(config_of(*options, "data.tokenizer=bytes"))
    assert as_bytes.corpus.vocab_size == 257


def test_what_is_planned_for_named_hardware_trains_in_its_precision_wherever_it_is_planned(
    text: RealText, tmp_path: Path
) -> None:
    """Truth: the dry run's cells: a login node has no GPU, and the cluster that it submits to has."""
    options = [*text.options, *CELL, "hardware=h100", f"store={tmp_path}"]
    dry, real = (make_plan(config_of(*options, f"dry_run={dry}")).plan for dry in ("true", "false"))
    assert {cell.spec.precision for cell in real.cells} == {"bf16"}
    assert [cell.cell_id for cell in real.cells] == [cell.cell_id for cell in dry.cells]


@pytest.mark.parametrize("store", ["file", "file/below"])
def test_a_dry_run_tells_of_a_file_in_the_stores_place(
    text: RealText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """Truth: a file stands where the folder should be; the real run would be told the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(
        UserError, match=rf"store '{store}' can't be made, or written to \('file' is a file\)"
    ):
        make_plan(config_on(text, *CELL, f"store={store}", "dry_run=true"))


def test_a_data_set_of_the_hub_has_to_be_named(tmp_path: Path) -> None:
    """Truth: the sentence names the option; a default would hand its configuration on to any other data set."""
    options = [
        "sweep=isoflop_small",
        "data=hf",
        "data.tokenizer=bytes",
        "dry_run=true",
        f"data.cache_dir={tmp_path}",
    ]
    with pytest.raises(UserError, match=r"data\.hf_path is not set"):
        make_plan(config_of(*options))
    named = config_of(*options, "data.hf_path=owner/name")
    assert named.data.hf_name is None
    longest = max(cell.spec.tokens for cell in plan_of(*options, "data.hf_path=owner/name").cells)
    assert named.data.max_train_tokens is not None
    assert longest < named.data.max_train_tokens < 100 * longest


def test_a_cell_that_its_cluster_cannot_hold_is_a_problem_of_a_dry_run_and_refused_by_a_real_one(
    text: RealText, tmp_path: Path
) -> None:
    """Truth: 16 bytes a parameter and 80 GB: 64 blocks of a width of 8,192 have 57e9 parameters."""
    large = [
        "budget=1e22",
        "model=llama3",
        "model.width=8192",
        "model.seq_len=64",
        "recipe=llama3",
        *CELL[2:],
    ]
    options = [*large, "hardware=h100", "gpus=4", f"store={tmp_path / 'store'}"]
    problems = make_plan(config_on(text, *options, "dry_run=true")).plan.problems
    (problem,) = (problem for problem in problems if problem.code == "memory")
    assert problem.text.startswith("w8192-d64-h64 needs")
    with pytest.raises(UserError, match=r"at 1e\+22 FLOPs w8192-d64-h64 needs .* GB on each of 4 GPUs"):
        make_plan(config_on(text, *options))
    assert not (tmp_path / "store").exists()
