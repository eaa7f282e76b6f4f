"""Models that are kept, loaded by transformers itself, and which of a budget's they are."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from fit.errors import UserError
from models.shapes import Shape
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.data import load_corpus, validation_windows
from scaling_runs.data.prepare import prepare
from scaling_runs.data.tokens import byte_letters, byte_tokenizer
from scaling_runs.job import run_cell
from scaling_runs.keeping import drop_unfinished, finish_models
from scaling_runs.model_folder import ModelFolder
from scaling_runs.plan import Plan
from scaling_runs.report import disk_line
from scaling_runs.store import Store
from scaling_runs.sweep_record import write_plan
from tests.configs import config_of, plan_of
from tests.scaling_runs.conftest import RealText, spec_for, untrained

LLAMA = Shape("llama", 16, 2, 2, 2, 48, 257)
SHAPES = [
    LLAMA,
    dataclasses.replace(LLAMA, kv_heads=1),
    dataclasses.replace(LLAMA, tied=True, rope_theta=123.0),
    Shape("gpt2", 16, 2, 2, 2, 64, 257, tied=True),
    Shape("gpt2", 16, 2, 2, 2, 64, 257),
]


def asked(store: Path, text: RealText, keep: str, *more: str) -> Config:
    return config_of(
        "sweep=isoflop_tiny", "tracking=off", f"store={store}", f"keep_models={keep}", *text.options, *more
    )


def cells_of(text: RealText, budget: float, *steps: int) -> list[Cell]:
    """Longer ones are better."""
    return [Cell(spec_for(text.corpus, steps=n), budget, 1.0) for n in steps]


def planned(cells: list[Cell]) -> Plan:
    return dataclasses.replace(plan_of("sweep=isoflop_tiny"), cells=tuple(cells))


def begin(store: Path, cells: list[Cell]) -> Store:
    write_plan(Store(store).sweep_folder("isoflop_tiny"), cells, {cell.cell_id: 1.0 for cell in cells})
    Store(store).add_all([cell.spec for cell in cells])
    return Store(store)


def train(store: Store, cells: list[Cell], config: Config) -> list[dict[str, Any]]:
    return [run_cell(store.cell(cell.cell_id), config) for cell in cells]


def with_weights(store: Store, cells: list[Cell]) -> list[bool]:
    return [ModelFolder.of(store.cell(cell.cell_id)).has_weights() for cell in cells]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_kept_model_that_transformers_loads_has_the_loss_of_the_table(
    text: RealText, tmp_path: Path, shape: Shape
) -> None:
    """Truth: transformers' own loading and forward pass, in float32, on the windows of the validation set."""
    cells = [Cell(spec_for(text.corpus, steps=20, shape=shape), 1e9, 1.0)]
    config, store = asked(tmp_path, text, "all"), begin(tmp_path, cells)
    (row,) = train(store, cells, config)
    finish_models(config, planned(cells), store)
    folder = ModelFolder.of(store.cell(cells[0].cell_id)).path
    model, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    windows = torch.from_numpy(np.ascontiguousarray(validation_windows(text.corpus, 32, 4096))).long()
    with torch.no_grad():
        logits = model(windows[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    assert float(loss) == pytest.approx(row["loss"], rel=2e-6)
    assert model.num_parameters() == row["params_all"]
    assert len(AutoTokenizer.from_pretrained(folder)) == shape.vocab_size


def test_the_config_has_the_fields_by_which_other_programs_know_a_llama(
    text: RealText, tmp_path: Path
) -> None:
    """Truth: what llama.cpp's convert_hf_to_gguf.py and vLLM read of a config.json, and transformers' own reading."""
    shape = dataclasses.replace(LLAMA, kv_heads=1, rope_theta=123.0)
    cells = [Cell(spec_for(text.corpus, steps=3, shape=shape), 1e9, 1.0)]
    config, store = asked(tmp_path, text, "all"), begin(tmp_path, cells)
    train(store, cells, config)
    finish_models(config, planned(cells), store)
    folder = ModelFolder.of(store.cell(cells[0].cell_id)).path
    found = json.loads((folder / "config.json").read_text())
    expected = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_size": 16,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "vocab_size": 257,
        "rope_theta": 123.0,
        "max_position_embeddings": 32,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "eos_token_id": 256,
    }
    assert {name: found[name] for name in expected} == expected
    assert AutoConfig.from_pretrained(folder).rope_parameters["rope_theta"] == 123.0
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert weights.metadata() == {"format": "pt"}
        assert "model.layers.0.self_attn.q_proj.weight" in weights.keys()  # noqa: SIM118 - no dict


def test_the_card_has_the_cells_numbers(text: RealText, tmp_path: Path) -> None:
    cells = [Cell(spec_for(text.corpus, steps=3), 1e9, 1.0)]
    config, store = asked(tmp_path, text, "best"), begin(tmp_path, cells)
    (row,) = train(store, cells, config)
    finish_models(config, planned(cells), store)
    _, metadata, body = (
        (ModelFolder.of(store.cell(cells[0].cell_id)).path / "README.md").read_text().split("---\n", 2)
    )
    read = yaml.safe_load(metadata)
    assert read["library_name"] == "transformers"
    (result,) = read["model-index"][0]["results"]
    assert [one["value"] for one in result["metrics"]] == [row["loss"], row["bits_per_byte"]]
    for part in (cells[0].cell_id, text.corpus.fingerprint, f"{row['params_all']:,}", "muon", "nats a token"):
        assert part in body


def test_best_keeps_one_model_a_budget_and_at_no_time_those_that_are_beaten(
    text: RealText, tmp_path: Path
) -> None:
    """Truth: more steps of the same model on the same text have a lower loss, which the results say too."""
    low, high = cells_of(text, 1e9, 3, 40, 10), cells_of(text, 2e9, 5)
    cells = [*low, *high]
    config, store = asked(tmp_path, text, "best"), begin(tmp_path, cells)
    there = []
    for cell in cells:
        train(store, [cell], config)
        there.append(with_weights(store, cells))
    assert there == [
        [True, False, False, False],
        [False, True, False, False],
        [False, True, False, False],
        [False, True, False, True],
    ]
    finish_models(config, planned(cells), store)
    whole = [ModelFolder.of(store.cell(cell.cell_id)).is_whole() for cell in cells]
    assert whole == [False, True, False, True]


def test_cells_that_were_done_before_are_told_of_and_fail_nothing(
    text: RealText, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = cells_of(text, 1e9, 3, 10)
    store = begin(tmp_path, cells)
    train(store, cells[1:], asked(tmp_path, text, "none"))
    assert with_weights(store, cells) == [False, False]
    config = asked(tmp_path, text, "best")
    train(store, cells, config)
    finish_models(config, planned(cells), store)
    out = capsys.readouterr().out
    assert f"no model of 1 cell ({cells[1].cell_id}), finished before when it was not asked for" in out
    assert with_weights(store, cells) == [False, False]  # the other is not the best
    shutil.rmtree(store.cell(cells[1].cell_id).path)
    store.add_all([cells[1].spec])
    train(store, cells, config)
    finish_models(config, planned(cells), store)
    assert "models: 1 folder kept" in capsys.readouterr().out


def test_a_model_that_is_whole_stays_whatever_other_sweeps_keep(text: RealText, tmp_path: Path) -> None:
    cells = cells_of(text, 1e9, 3, 10)
    config, store = asked(tmp_path, text, "all"), begin(tmp_path, cells)
    train(store, cells, config)
    finish_models(config, planned(cells[:1]), store)
    finish_models(asked(tmp_path, text, "best"), planned(cells), store)
    assert with_weights(store, cells) == [True, True]
    drop_unfinished(cells, store)
    assert with_weights(store, cells) == [True, True]


def test_weights_of_cells_that_are_no_part_of_the_plan_go(text: RealText, tmp_path: Path) -> None:
    """Truth: an audit's cell is trained with the sweep's options, and its plan's models are whole by then."""
    cells = cells_of(text, 1e9, 3, 10)
    config, store = asked(tmp_path, text, "all"), begin(tmp_path, cells)
    train(store, cells, config)
    finish_models(config, planned(cells[:1]), store)
    drop_unfinished(cells, store)
    assert with_weights(store, cells) == [True, False]
    assert not ModelFolder.of(store.cell(cells[1].cell_id)).path.exists()


def test_a_tokeniser_that_was_trained_on_the_corpus_goes_with_the_model(
    text: RealText, tmp_path: Path
) -> None:
    config = asked(tmp_path, text, "all", "data.tokenizer=bpe", "data.vocab_size=300")
    corpus = prepare(config.data, config.val_tokens)
    shape = dataclasses.replace(LLAMA, vocab_size=300)
    cells = [Cell(spec_for(corpus, steps=3, shape=shape), 1e9, 1.0)]
    store = begin(tmp_path, cells)
    train(store, cells, config)
    finish_models(config, planned(cells), store)
    found = AutoTokenizer.from_pretrained(ModelFolder.of(store.cell(cells[0].cell_id)).path)
    ids = corpus.val()[:200].tolist()
    ids = ids[: ids.index(found.eos_token_id)] if found.eos_token_id in ids else ids
    assert found(found.decode(ids))["input_ids"] == ids


def test_weights_whose_corpus_is_elsewhere_stay_and_the_reason_is_told(
    text: RealText, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = cells_of(text, 1e9, 3)
    config, store = asked(tmp_path, text, "all"), begin(tmp_path, cells)
    train(store, cells, config)
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(UserError):
        load_corpus(text.corpus.fingerprint, elsewhere)
    finish_models(asked(tmp_path, text, "all", f"data.cache_dir={elsewhere}"), planned(cells), store)
    assert "has the weights alone: corpus" in capsys.readouterr().out
    assert with_weights(store, cells) == [True]


def test_a_dry_run_says_what_the_models_will_take(text: RealText, tmp_path: Path) -> None:
    """Truth: four bytes for each weight of the model that is built."""
    size = 4 * untrained(spec_for(text.corpus)).num_parameters()
    plan = planned([*cells_of(text, 1e9, 3, 10), *cells_of(text, 2e9, 20)])
    assert size == 59_840
    assert disk_line(asked(tmp_path, text, "none"), plan) is None
    assert "3 models: 180KB" in str(disk_line(asked(tmp_path, text, "all"), plan))
    assert "2 models, the best of each budget: at most 120KB" in str(
        disk_line(asked(tmp_path, text, "best"), plan)
    )


def test_keep_models_is_none_best_or_all() -> None:
    with pytest.raises(UserError, match="keep_models is 'some'; choose one of none, best, all"):
        config_of("sweep=isoflop_tiny", "keep_models=some")


TOKENIZER = byte_tokenizer()


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_byte_tokeniser_gives_the_bytes_of_any_text_and_back(written: str) -> None:
    """Truth: Python's UTF-8. What is written as the separator itself is one token, as in GPT-2's."""
    if "<|endoftext|>" in written:
        return
    ids = TOKENIZER(written)["input_ids"]
    assert ids == list(written.encode())
    assert TOKENIZER.decode(ids) == written


@settings(deadline=None)
@given(st.binary())
def test_the_byte_tokeniser_takes_any_bytes_to_their_letters_and_back(data: bytes) -> None:
    letters = TOKENIZER.convert_ids_to_tokens(list(data))
    assert TOKENIZER.convert_tokens_to_ids(letters) == list(data)
    assert TOKENIZER.decode(list(data)) == data.decode(errors="replace")


def test_the_letters_of_bytes_are_gpt2s() -> None:
    """Truth: the alphabet of the library `tokenizers`, which has the same letters in no order."""
    from tokenizers.pre_tokenizers import ByteLevel

    assert sorted(byte_letters()) == sorted(ByteLevel.alphabet())
    assert TOKENIZER.eos_token_id == 256
    assert len(TOKENIZER) == 257
