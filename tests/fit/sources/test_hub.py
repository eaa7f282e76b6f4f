"""Hugging Face data sets, from a folder: the same code reads the hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fit.cli import main
from fit.errors import UserError
from fit.isoflop import fit_isoflop
from fit.sources import SourceOptions
from fit.table import load_runs
from tests.simulated import TOKENS, parabolas, rows_of, write_csv

RUNS = parabolas(budgets=[1e18, 1e19, 1e20], sizes=5)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub is not asked, and what is read is kept in the test's own folder."""
    import datasets
    import huggingface_hub

    for module in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of two configs: `plain`, and `nested` with a split of its own and sizes in a column of structs."""
    place = tmp_path / "runs"
    place.mkdir()
    plain = rows_of(RUNS)
    nested = [{"run": {"D": row["tokens"], "C": row["flops"]}, "loss": row["loss"]} for row in plain]
    for name, rows in (("plain", plain), ("nested", nested)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "README.md").write_text(
        "---\nconfigs:\n- config_name: plain\n  data_files: plain.jsonl\n  default: true\n"
        "- config_name: nested\n  data_files:\n  - split: sweeps\n    path: nested.jsonl\n---\n"
    )
    return place


def test_a_data_set_is_read_as_it_was_written(folder: Path) -> None:
    """Truth: the simulated runs, to the last bit, and their law."""
    runs = load_runs(f"hf:{folder}")
    for name in ("budget", "flops", "params", "tokens", "loss"):
        assert np.array_equal(getattr(runs, name), getattr(RUNS, name))
    assert list(runs.run_id) == list(RUNS.run_id)
    law = fit_isoflop(runs, resamples=0).laws["tokens"]
    assert law is not None
    assert law.exponent == pytest.approx(TOKENS.exponent, abs=1e-6)


def test_a_config_a_split_and_nested_columns_are_named(folder: Path) -> None:
    columns = {"tokens": "run.D", "flops": "run.C"}
    runs = load_runs(f"hf:{folder}:nested", columns, SourceOptions(split="sweeps"))
    assert np.array_equal(runs.tokens, RUNS.tokens)
    assert list(runs.run_id[:2]) == ["row 1", "row 2"]


def test_the_command_line_reads_a_data_set_and_writes_nothing_into_it(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Truth: the simulated law; not one progress bar on stderr, where an error would be lost among them."""
    assert main(["isoflop", f"hf:{folder}:plain", "--split", "train"]) == 0
    said = capfd.readouterr()
    assert "D*(C) = 0.299·C^0.537" in said.out
    assert said.err == ""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main(["isoflop", f"hf:{folder}", "--json", str(folder / "plain.jsonl")]) == 2
    assert "plain.jsonl' lies inside the data set" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("FOLDER", "test", r"no split 'test' that can be read \(Unknown split \"test\""),
        ("FOLDER:other", None, r"BuilderConfig 'other' not found. Available: \['plain', 'nested'\]"),
        ("FOLDER/none", None, "Couldn't find any data file"),
        ("nobody/none", None, "no split 'train' that can be read .*on the Hub"),
        ("", None, "'hf:' names no data set"),
        ("FOLDER:nested", "sweeps", "lacks columns: .* found are run.D, run.C, loss"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(
    folder: Path, name: str, split: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_runs(f"hf:{name.replace('FOLDER', str(folder))}", options=SourceOptions(split=split))
    assert "\n" not in str(caught.value)


def test_a_data_set_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("flops,tokens,loss\n")
    with pytest.raises(UserError, match=r"'hf:.*no rows in its split|no split 'train' that can be read"):
        load_runs(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("runs.csv", ["--split", "test"], "--split is for a source hf:OWNER/DATASET, and 'runs.csv' is none"),
        ("wandb:a/b", ["--split", "test"], "and 'wandb:a/b' is none"),
        ("runs.csv", ["--wandb-filter", "{}"], "--wandb-filter is for a source wandb:ENTITY/PROJECT"),
        ("runs.csv", ["--wandb-filter", "{"], "'{' is no JSON"),
        ("runs.csv", ["--wandb-filter", "[1]"], "'[1]' is no JSON object"),
    ],
)
def test_an_option_for_another_source_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    options: Sequence[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "runs.csv", rows_of(RUNS))
    assert main(["isoflop", source, *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1
