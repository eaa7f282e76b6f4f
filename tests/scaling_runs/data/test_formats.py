"""Data sets on disk as the hub serves them: each format, compressed or not, prepared whole and streamed."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from fit.errors import UserError
from scaling_runs.data import DataConfig, open_batches
from scaling_runs.data.prepare import prepare
from scaling_runs.data.sources import text_files
from tests.configs import config_of
from tests.scaling_runs.data.corpora import by_hash, documents, documents_of
from tests.scaling_runs.data.streams import training_tokens

LINES = [text.strip().replace("\n", " ") for text in documents(80)]
"""Documents without a line's end, which a .txt file could not hold as rows."""
HALVES = [LINES[:50], LINES[50:]]


def _json_lines(texts: list[str]) -> str:
    return "".join(json.dumps({"text": text, "id": i}) + "\n" for i, text in enumerate(texts))


def _separated(texts: list[str], separator: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator)
    writer.writerows([["id", "text"], *[[str(i), text] for i, text in enumerate(texts)]])
    return out.getvalue()


def _parquet(texts: list[str]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), out, row_group_size=7)
    return out.getvalue()


def _arrow(texts: list[str]) -> bytes:
    out, table = io.BytesIO(), pa.table({"text": texts})
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _tar(texts: list[str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i, text in enumerate(texts):
            member = tarfile.TarInfo(f"{i:04d}.text")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def _zst(text: str) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    return bytes(zstandard.ZstdCompressor().compress(text.encode()))


FORMATS: dict[str, Callable[[list[str]], bytes]] = {
    "parquet": _parquet,
    "jsonl": lambda texts: _json_lines(texts).encode(),
    "json": lambda texts: json.dumps([{"text": text} for text in texts]).encode(),
    "csv": lambda texts: _separated(texts, ",").encode(),
    "tsv": lambda texts: _separated(texts, "\t").encode(),
    "txt": lambda texts: ("\n".join(texts) + "\n").encode(),
    "arrow": _arrow,
    "jsonl.gz": lambda texts: gzip.compress(_json_lines(texts).encode()),
    "csv.gz": lambda texts: gzip.compress(_separated(texts, ",").encode()),
    "jsonl.zst": lambda texts: _zst(_json_lines(texts)),
}


@pytest.fixture
def data_set(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two files of the format that the test is for."""
    return _write(tmp_path / "texts", request.param)


def _write(folder: Path, ending: str, halves: list[list[str]] = HALVES) -> Path:
    folder.mkdir(parents=True)
    for number, texts in enumerate(halves):
        (folder / f"train-{number:05d}-of-00002.{ending}").write_bytes(FORMATS[ending](texts))
    return folder


def _hub(path: Path, cache: Path, **options: object) -> DataConfig:
    settings: dict[str, object] = {"val_fraction": 0.25, "cache_dir": str(cache), "hf_path": str(path)}
    return DataConfig(kind="hf", **(settings | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("data_set", FORMATS, indirect=True)
@pytest.mark.parametrize("streaming", [True, False])
def test_a_data_set_of_each_format_is_prepared(
    data_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    """Truth: the texts that were written."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    corpus = prepare(_hub(data_set, tmp_path / "cache", streaming=streaming))
    assert by_hash(documents_of(corpus.train()) + documents_of(corpus.val())) == by_hash(LINES)


@pytest.mark.parametrize("data_set", FORMATS, indirect=True)
def test_a_data_set_of_each_format_is_streamed_and_gone_on_with(data_set: Path, tmp_path: Path) -> None:
    """Truth: each of two lanes holds one file's training documents; gone on with at step 9, the same batches."""
    corpus = prepare(_hub(data_set, tmp_path / "cache", on_disk=False, train_tokens=2000), 100)
    rows = []
    places: dict[int, dict[str, object]] = {}
    for step in range(20):
        where = {"step": step, "places": places, "rank": 0, "world_size": 1}
        if step in (0, 9):
            with open_batches(corpus, 16, 2, 0, **where) as batches:  # type: ignore[arg-type]
                for ahead in range(step, 9 if step == 0 else 20):
                    rows.append(batches.batch(ahead))
                places = json.loads(json.dumps(batches.lanes()), object_pairs_hook=_whole_keys)
    files = [training_tokens(half) for half in HALVES]
    for lane in range(2):
        tokens = [int(token) for row in rows for token in row[lane, :-1]]
        assert any(tokens == file[: len(tokens)] for file in files)


def _whole_keys(pairs: list[tuple[str, object]]) -> dict[object, object]:
    return {int(key) if key.isdigit() else key: value for key, value in pairs}


@pytest.mark.parametrize("ending", [ending for ending in FORMATS if ending != "txt"])
def test_local_files_of_each_format_are_documents_by_the_row(tmp_path: Path, ending: str) -> None:
    """Truth: the texts that were written; the folder holds a note, too, which is none of them."""
    folder = _write(tmp_path / "texts", ending)
    (folder / "README.md").write_text("a note")
    assert by_hash(list(text_files([str(folder)], "text").documents())) == by_hash(LINES)


def test_local_text_that_is_compressed_is_one_document_a_file(tmp_path: Path) -> None:
    """Truth: the text that was written."""
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert list(text_files([str(tmp_path)], "text").documents()) == [b"one\ntwo\n"]


def test_an_archive_of_texts_is_a_data_set(tmp_path: Path) -> None:
    """Truth: the texts that were written, each a member of a .tar, whose ending names the column."""
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "train-00000.tar").write_bytes(_tar(LINES))
    corpus = prepare(_hub(folder, tmp_path / "cache"))
    assert by_hash(documents_of(corpus.train()) + documents_of(corpus.val())) == by_hash(LINES)


def test_a_field_of_nothing_is_no_document(tmp_path: Path) -> None:
    """Truth: the one text of three rows, for an empty field of a .csv is NaN to its reader."""
    (tmp_path / "a.csv").write_text("id,text\n1,\n2,kept\n3,\n")
    assert list(text_files([str(tmp_path)], "text").documents()) == [b"kept"]


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_parquet_file_without_rows_is_passed_over(tmp_path: Path, on_disk: bool) -> None:
    """Truth: the documents of the file that has any, beside one of an empty group and one of no group."""
    folder = _write(tmp_path / "texts", "parquet", [LINES])
    nothing = pa.table({"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())})
    pq.write_table(nothing, folder / "train-00001-of-00003.parquet")
    pq.ParquetWriter(folder / "train-00002-of-00003.parquet", nothing.schema).close()
    if on_disk:
        corpus = prepare(_hub(folder, tmp_path / "cache"))
        assert by_hash(documents_of(corpus.train()) + documents_of(corpus.val())) == by_hash(LINES)
        return
    corpus = prepare(_hub(folder, tmp_path / "cache", on_disk=False, train_tokens=2000), 100)
    with open_batches(corpus, 16, 3, 0, step=0, places={}, rank=0, world_size=1) as batches:
        rows = [batches.batch(step) for step in range(10)]
    for lane in range(3):
        tokens = [int(token) for row in rows for token in row[lane, :-1]]
        assert tokens == training_tokens(LINES)[: len(tokens)]


@pytest.mark.parametrize("how", [{"streaming": True}, {"on_disk": False, "train_tokens": 100}])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, how: dict[str, object]) -> None:
    """Truth: the one file of two whose last line was cut off, and what to do about it: no word of a cache."""
    folder = _write(tmp_path / "texts", "jsonl")
    bad = folder / "train-00001-of-00002.jsonl"
    bad.write_text(bad.read_text()[:-20])
    with pytest.raises(UserError, match=r"file '.*train-00001-of-00002\.jsonl' can't be read \(") as caught:
        prepare(_hub(folder, tmp_path / "cache", **how), 10_000)
    assert "\n" not in str(caught.value)
    assert ("data.cache_dir" in str(caught.value)) == ("streaming" in how)


def test_a_file_that_needs_another_package_says_which(tmp_path: Path) -> None:
    """Truth: .zst, where zstandard is not installed."""
    if importlib.util.find_spec("zstandard") is not None:
        pytest.skip("zstandard is installed")
    (tmp_path / "a.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"\x00" * 20)
    with pytest.raises(UserError, match=r"a\.jsonl\.zst' can't be read .*; install the package zstandard"):
        list(text_files([str(tmp_path)], "text").documents())


ARTICLES = [f" = Title {i} = \n\n Some text {i} .\n = = Part = = \nMore of it .\n" for i in range(60)]
NAMED = {
    "fineweb_edu_10b": [
        "sample/100BT/000_00000.parquet",
        "data/CC-MAIN-2013-20/train-00000-of-00014.parquet",
    ],
    "c4": ["en/c4-train.00000-of-01024.json.gz", "realnewslike/c4-train.00000-of-00512.json.gz"],
    "wikitext": [
        "wikitext-103-raw-v1/train-00000-of-00002.parquet",
        "wikitext-103-raw-v1/test-00000-of-00001.parquet",
        "wikitext-2-v1/train-00000-of-00001.parquet",
    ],
    "the_stack_smol": ["data/python/data.json", "data/rust/data.json"],
}
"""Files of each as the hub has them: the first is asked for, the others are not."""
SECTIONS = {
    "fineweb_edu_10b": {"default": {"train": "data/*/*"}, "sample-100BT": {"train": "sample/100BT/*"}},
    "c4": {
        "en": {"train": "en/c4-train.*.json.gz"},
        "realnewslike": {"train": "realnewslike/c4-train.*.json.gz"},
    },
    "wikitext": {
        "wikitext-103-raw-v1": {"test": "wikitext-103-raw-v1/test-*", "train": "wikitext-103-raw-v1/train-*"},
        "wikitext-2-v1": {"train": "wikitext-2-v1/train-*"},
    },
}
"""The `configs` of a README: splits, and the files of each."""


def _lay_out(folder: Path, name: str, column: str, texts: list[str]) -> None:
    for number, path in enumerate(NAMED[name]):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame({column: ["not asked for"] if number else texts, "url": "x"})
        if file.suffix == ".parquet":
            frame.to_parquet(file)
        else:
            frame.to_json(file, orient="records", lines=True)
    configs = [
        {
            "config_name": config,
            "data_files": [{"split": split, "path": path} for split, path in splits.items()],
        }
        for config, splits in SECTIONS.get(name, {}).items()
    ]
    if configs:
        (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")


@pytest.mark.parametrize("name", NAMED)
def test_a_named_data_set_is_read_as_the_hub_lays_it_out(tmp_path: Path, name: str) -> None:
    """Truth: the texts that were written in the hub's own folders, files and columns, among others' files."""
    lines = [line + "\n" for article in ARTICLES for line in article.split("\n")[:-1]]
    column = "content" if name == "the_stack_smol" else "text"
    _lay_out(tmp_path / "texts", name, column, lines if name == "wikitext" else ARTICLES)
    config = config_of(
        f"data={name}",
        f"data.hf_path={tmp_path / 'texts'}",
        "data.tokenizer=bytes",
        "data.val_fraction=0.25",
        f"data.cache_dir={tmp_path / 'cache'}",
    )
    corpus = prepare(config.data)
    assert by_hash(documents_of(corpus.train()) + documents_of(corpus.val())) == by_hash(ARTICLES)
