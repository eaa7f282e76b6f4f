"""A tokeniser that is trained on the corpus itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Library
from transformers import AutoTokenizer

from fit.errors import UserError
from scaling_runs.data import Corpus, DataConfig, open_batches
from scaling_runs.data import bpe as module
from scaling_runs.data.bpe import END, sample, train_bpe
from scaling_runs.data.config import PartConfig
from scaling_runs.data.prepare import find_prepared, prepare
from tests.scaling_runs.data.corpora import by_hash, config_for, documents, write_jsonl
from tests.scaling_runs.data.streams import on_validation_side, stream_config, write_data_set

TEXTS = documents(200)
SIZE = 320
BPE: dict[str, object] = {"tokenizer": "bpe", "vocab_size": SIZE}


def _decoded(corpus: Corpus) -> list[bytes]:
    """Documents of both sides, by the very file that was kept with the corpus."""
    library = Library.from_file(str(corpus.folder / "tokenizer" / "tokenizer.json"))
    end = library.token_to_id(END)
    back = []
    for side in (corpus.train(), corpus.val()):
        parts = np.split(side, np.flatnonzero(side == end) + 1)[:-1]
        back += [library.decode(part[:-1].tolist()).encode() for part in parts]
    return back


def test_the_corpus_decodes_by_the_tokeniser_that_is_kept_with_it(tmp_path: Path) -> None:
    """Truth: the texts that went in; transformers gives the same ids."""
    path = write_jsonl(tmp_path / "rows.jsonl", TEXTS)
    corpus = prepare(config_for(tmp_path / "cache", path, **BPE))
    assert by_hash(_decoded(corpus)) == by_hash(TEXTS)
    assert (corpus.vocab_size, corpus.dtype) == (SIZE, "uint16")
    assert corpus.bytes_per_token > 1.5
    loaded = AutoTokenizer.from_pretrained(corpus.folder / "tokenizer")
    assert loaded.eos_token == END
    first = loaded(by_hash([text for text in TEXTS if not on_validation_side(text)])[0].decode())["input_ids"]
    assert corpus.train()[: len(first)].tolist() == first


def test_it_is_the_same_whatever_the_order_of_the_text(tmp_path: Path) -> None:
    """Truth: the fingerprint, in which the tokeniser is; another size is another corpus."""
    first = prepare(config_for(tmp_path / "a", write_jsonl(tmp_path / "a.jsonl", TEXTS), **BPE))
    again = prepare(config_for(tmp_path / "b", write_jsonl(tmp_path / "b.jsonl", TEXTS[::-1]), **BPE))
    other = prepare(config_for(tmp_path / "a", tmp_path / "a.jsonl", tokenizer="bpe", vocab_size=SIZE + 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert other.vocab_size == SIZE + 1


def test_no_document_of_the_validation_side_is_trained_on() -> None:
    """Truth: the rule of sides, applied to the documents of the sample; all others are in it, each once."""
    found = sample([text.encode() for text in TEXTS + TEXTS], 0.25)
    assert sorted(found) == sorted({text.encode() for text in TEXTS if not on_validation_side(text)})


@pytest.mark.parametrize("size", [300, 1000, 5000])
def test_a_sample_is_of_the_lowest_hashes_whatever_the_order(size: int) -> None:
    """Truth: the training documents by hash, as many as fit."""
    encoded = [text.encode() for text in TEXTS]
    found = sample(encoded, 0.25, size)
    assert found == sample(encoded[::-1], 0.25, size)
    in_order = by_hash([text for text in TEXTS if not on_validation_side(text)])
    assert found == in_order[: len(found)]
    assert sum(map(len, found)) <= size < sum(map(len, in_order[: len(found) + 1]))


def test_a_sample_reads_no_further_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: an iterator that would fail past its first thousand bytes and one document."""
    monkeypatch.setattr(module, "READ_BYTES", 1000)

    def endless() -> object:
        for text in TEXTS:
            there.append(len(text))
            assert sum(there[:-1]) < 1000
            yield text.encode()

    there: list[int] = []
    assert sample(endless(), 0.25)  # type: ignore[arg-type]


def test_text_that_gives_no_so_many_tokens_is_one_sentence(tmp_path: Path) -> None:
    """Truth: the sentence names both numbers and the option."""
    with pytest.raises(UserError, match=r"gives a tokeniser of \d+ tokens, and data\.vocab_size is 9,000"):
        train_bpe([b"a b c"], 9000, "here")


@pytest.mark.parametrize("size", [None, 257, 2_000_000])
def test_a_size_that_cannot_be_is_one_sentence(size: int | None) -> None:
    """Truth: fewer than the bytes, the separator and a merge; more than anyone means."""
    with pytest.raises(
        UserError, match=r"data\.vocab_size is .*; data\.tokenizer=bpe trains .* such as 4096"
    ):
        DataConfig(tokenizer="bpe", vocab_size=size)


def test_a_stream_is_read_by_the_tokeniser_that_is_kept_wherever_the_cache_is(tmp_path: Path) -> None:
    """Truth: the training text of the one file, decoded; the cache was moved after it was prepared."""
    folder = write_data_set(tmp_path / "texts", [TEXTS])
    corpus = prepare(stream_config(folder, tmp_path / "cache", **BPE), 200)
    shutil.move(tmp_path / "cache", tmp_path / "moved")
    config = stream_config(folder, tmp_path / "moved", **BPE)
    moved = find_prepared(config, 200)
    assert moved is not None
    assert moved.fingerprint == corpus.fingerprint
    with open_batches(moved, 16, 2, 0, step=0, places={}, rank=0, world_size=1) as batches:
        tokens = np.concatenate([batches.batch(step)[:, :-1].ravel() for step in range(20)])
    library = Library.from_file(str(moved.folder / "tokenizer" / "tokenizer.json"))
    text = library.decode(tokens.tolist(), skip_special_tokens=True)
    assert "".join(text for text in TEXTS if not on_validation_side(text)).startswith(text)
    assert len(text) > 500


def test_the_parts_of_a_mixture_have_one_tokeniser(tmp_path: Path) -> None:
    """Truth: its identity is in both fingerprints and its file in both folders; made a second time, it is the same."""
    paths = [write_jsonl(tmp_path / f"{i}.jsonl", TEXTS[i * 100 : (i + 1) * 100]) for i in range(2)]
    parts = [PartConfig(name=f"part{i}", weight=1 + i, paths=[str(path)]) for i, path in enumerate(paths)]

    def config(cache: str) -> DataConfig:
        return DataConfig("mixture", parts=parts, val_fraction=0.25, cache_dir=str(tmp_path / cache), **BPE)  # type: ignore[arg-type]

    corpus = prepare(config("cache"))
    kept = {(one.folder / "tokenizer" / "tokenizer.json").read_bytes() for one in [corpus, *_parts(corpus)]}
    assert len(kept) == 1
    assert {one.vocab_size for one in _parts(corpus)} == {SIZE}
    assert find_prepared(config("cache")) == corpus
    assert prepare(config("other")).fingerprint == corpus.fingerprint


def _parts(corpus: Corpus) -> list[Corpus]:
    return [part.corpus for part in corpus.parts]
