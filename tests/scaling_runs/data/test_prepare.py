"""From documents to shards: nothing lost, nothing twice, nothing on both sides, the same on any machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fit.errors import UserError
from scaling_runs.data import Corpus, load_corpus
from scaling_runs.data.prepare import find_prepared, prepare
from scaling_runs.data.progress import Progress
from scaling_runs.data.scratch import Scratch, hashed
from scaling_runs.data.tokens import open_tokenizer
from tests.scaling_runs.data.corpora import (
    by_hash,
    config_for,
    documents,
    documents_of,
    write_jsonl,
    write_texts,
)


def _both_sides(corpus: Corpus) -> list[bytes]:
    return documents_of(corpus.train()) + documents_of(corpus.val())


def test_every_document_is_on_one_side_and_in_order_of_its_hash(tmp_path: Path) -> None:
    """Truth: the documents that were written, sorted by hashlib's SHA-256."""
    texts = documents(60)
    corpus = prepare(config_for(tmp_path / "cache", write_texts(tmp_path / "texts", texts)))
    assert by_hash(_both_sides(corpus)) == by_hash(texts)
    for side in (documents_of(corpus.train()), documents_of(corpus.val())):
        assert side == by_hash(side)
    assert (corpus.train_documents + corpus.val_documents, corpus.vocab_size) == (60, 257)
    assert corpus.bytes_per_token == pytest.approx(1 - corpus.val_documents / corpus.val_tokens)


def test_a_document_twice_counts_once(tmp_path: Path) -> None:
    """Truth: the corpus of the different documents alone."""
    texts = documents(40)
    once = prepare(config_for(tmp_path / "a", write_jsonl(tmp_path / "once.jsonl", texts)))
    twice = prepare(config_for(tmp_path / "b", write_jsonl(tmp_path / "twice.jsonl", texts[::-1] + texts)))
    assert once.fingerprint == twice.fingerprint
    np.testing.assert_array_equal(once.train(), twice.train())


def test_the_fingerprint_is_of_the_text_and_not_of_its_files(tmp_path: Path) -> None:
    """Truth: the same documents as .txt, .jsonl and .parquet, in other orders and folders, are one corpus."""
    import pandas as pd

    texts = documents(40)
    pd.DataFrame({"text": texts[20:] + texts[:20]}).to_parquet(tmp_path / "rows.parquet")
    sources = [
        write_texts(tmp_path / "texts", texts),
        write_jsonl(tmp_path / "rows.jsonl", texts[::-1]),
        tmp_path / "rows.parquet",
    ]
    corpora = [prepare(config_for(tmp_path / f"cache{i}", source)) for i, source in enumerate(sources)]
    assert len({corpus.fingerprint for corpus in corpora}) == 1
    assert len({corpus.val().tobytes() for corpus in corpora}) == 1


def test_a_document_keeps_its_side_when_others_come_or_go(tmp_path: Path) -> None:
    """Truth: a split by content alone; no document of the small corpus changes sides in the large one."""
    small = prepare(config_for(tmp_path / "a", write_jsonl(tmp_path / "small.jsonl", documents(50))))
    large = prepare(config_for(tmp_path / "b", write_jsonl(tmp_path / "large.jsonl", documents(200))))
    assert set(documents_of(small.val())) <= set(documents_of(large.val()))
    assert set(documents_of(small.train())) <= set(documents_of(large.train()))


def test_the_validation_side_gets_its_share(tmp_path: Path) -> None:
    """Truth: the binomial: 2000 documents at 0.25 give 500, sd 19."""
    texts = [f"document {i}" for i in range(2000)]
    corpus = prepare(config_for(tmp_path / "cache", write_jsonl(tmp_path / "rows.jsonl", texts)))
    assert abs(corpus.val_documents - 500) < 4 * 19


def test_a_changed_document_tokeniser_or_split_is_another_corpus(tmp_path: Path) -> None:
    """Truth: the fingerprint must differ, for the cells' losses would."""
    texts = documents(40)
    path = write_jsonl(tmp_path / "rows.jsonl", texts)
    first = prepare(config_for(tmp_path / "cache", path))
    other_split = prepare(config_for(tmp_path / "cache", path, val_fraction=0.5))
    write_jsonl(path, [*texts[:-1], texts[-1] + "!"])
    changed = prepare(config_for(tmp_path / "cache", path))
    assert len({first.fingerprint, other_split.fingerprint, changed.fingerprint}) == 3


def test_a_second_start_finds_it_without_reading(tmp_path: Path) -> None:
    """Truth: the shards' own times: an untouched file was not written again."""
    config = config_for(tmp_path / "cache", write_texts(tmp_path / "texts", documents(30)))
    assert find_prepared(config) is None
    corpus = prepare(config)
    written = (corpus.folder / "train.bin").stat().st_mtime_ns
    assert (
        find_prepared(config)
        == prepare(config)
        == corpus
        == load_corpus(corpus.fingerprint, tmp_path / "cache")
    )
    assert (corpus.folder / "train.bin").stat().st_mtime_ns == written


def test_reading_stops_at_the_document_that_fills_the_training_side(tmp_path: Path) -> None:
    """Truth: without its last document the training side would be short of what was asked for."""
    path = write_jsonl(tmp_path / "rows.jsonl", documents(200))
    corpus = prepare(config_for(tmp_path / "cache", path, max_train_tokens=3000))
    longest = max(len(document) for document in documents_of(corpus.train())) + 1
    assert 3000 <= corpus.train_tokens < 3000 + longest
    assert prepare(config_for(tmp_path / "cache", path)).train_documents > corpus.train_documents


def test_two_processes_at_once_make_one_corpus(tmp_path: Path) -> None:
    """Truth: both print the same fingerprint, and nothing half-made is left."""
    texts = write_texts(tmp_path / "texts", documents(300))
    code = (
        "from scaling_runs.data import DataConfig\nfrom scaling_runs.data.prepare import prepare\n"
        f"print(prepare(DataConfig(kind='text_files', paths=[{str(texts)!r}], val_fraction=0.25, "
        f"cache_dir={str(tmp_path / 'cache')!r})).fingerprint)"
    )
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert printed[0] == printed[1] != ""
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        ".prepare.lock",
        "corpora",
        "sources",
    ]
    assert len(list((tmp_path / "cache" / "corpora").iterdir())) == 1


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    """Truth: only the finished corpus is in the cache afterwards."""
    abandoned = tmp_path / "cache" / ".building-1"
    abandoned.mkdir(parents=True)
    (abandoned / "all.bin").write_bytes(b"half")
    prepare(config_for(tmp_path / "cache", write_jsonl(tmp_path / "rows.jsonl", documents(30))))
    assert not abandoned.exists()


def test_a_failure_leaves_nothing_half_made(tmp_path: Path) -> None:
    """Truth: the cache after a document that can't be read holds its lock and no corpus."""
    path = write_jsonl(tmp_path / "rows.jsonl", documents(30))
    path.write_text(path.read_text() + '{"text": "cut of')
    with pytest.raises(UserError):
        prepare(config_for(tmp_path / "cache", path))
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [".prepare.lock"]


@pytest.mark.parametrize("damage", ["cut", "gone", "meta"])
def test_a_damaged_corpus_is_named_and_not_read(tmp_path: Path, damage: str) -> None:
    """Truth: the sentence names the file and the folder to remove; removed, it is made anew."""
    config = config_for(tmp_path / "cache", write_jsonl(tmp_path / "rows.jsonl", documents(30)))
    corpus = prepare(config)
    shard = corpus.folder / ("meta.json" if damage == "meta" else "train.bin")
    if damage == "gone":
        shard.unlink()
    else:
        os.truncate(shard, shard.stat().st_size - 2)
    with pytest.raises(UserError, match=rf"{shard.name}'.*remove '{corpus.folder}'"):
        load_corpus(corpus.fingerprint, tmp_path / "cache")
    for file in corpus.folder.iterdir():
        file.unlink()
    corpus.folder.rmdir()
    assert prepare(config) == corpus


def test_a_corpus_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """Truth: the sentence names the folder and the option."""
    with pytest.raises(UserError, match=rf"is not in '{tmp_path}'.*data\.cache_dir"):
        load_corpus("f" * 64, tmp_path)


def test_too_few_documents_to_split_is_one_sentence(tmp_path: Path) -> None:
    """Truth: one document can't be on both sides."""
    with pytest.raises(
        UserError, match=r"texts/.*\.txt': all of the text is one document .*; split the file, or give"
    ):
        prepare(config_for(tmp_path / "cache", write_texts(tmp_path / "texts", documents(1))))


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """Truth: a file stands where the folder should."""
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(UserError, match=r"data\.cache_dir '.*cache' can't be made"):
        prepare(config_for(tmp_path / "cache", write_jsonl(tmp_path / "rows.jsonl", documents(30))))


def test_a_cell_reads_a_corpus_without_what_prepares_it(tmp_path: Path) -> None:
    """Truth: the modules that a fresh process has loaded after its first batch."""
    corpus = prepare(config_for(tmp_path / "cache", write_jsonl(tmp_path / "rows.jsonl", documents(60))))
    code = (
        "import json, sys\nfrom scaling_runs.data import Batches, load_corpus, validation_windows\n"
        f"corpus = load_corpus({corpus.fingerprint!r}, {str(tmp_path / 'cache')!r})\n"
        "Batches(corpus, 16, 4, 0).batch(0), validation_windows(corpus, 16, 64)\n"
        "print(json.dumps(sorted({'torch', 'datasets', 'transformers', 'pandas'} & set(sys.modules))))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == []


def test_the_table_of_documents_stays_small(tmp_path: Path) -> None:
    """Truth: what tracemalloc says is kept: 48 bytes a document, and half as much for arrays that grow."""
    import tracemalloc

    scratch = Scratch(tmp_path / "all.bin", open_tokenizer("bytes"), 0.25)
    tracemalloc.start()
    with Progress("preparing") as progress:
        scratch.fill(hashed(f"document {i}".encode() for i in range(30_000)), progress)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(scratch) == 30_000
    assert kept < 72 * 30_000
