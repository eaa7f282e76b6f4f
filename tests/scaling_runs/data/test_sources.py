"""Where documents come from, and what is said where they can't be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import datasets
import pandas as pd
import pytest

from fit.errors import UserError
from scaling_runs.data import DataConfig, sources
from scaling_runs.data.prepare import prepare
from scaling_runs.data.sources import python_files, python_source, text_files
from tests.configs import ROOT
from tests.scaling_runs.data.corpora import (
    by_hash,
    config_for,
    documents,
    documents_of,
    write_jsonl,
    write_texts,
)


def test_python_files_are_taken_byte_for_byte(tmp_path: Path) -> None:
    """Truth: the bytes that were written, none of them UTF-8 by need."""
    for name, text in (("a.py", b"name = '\xe9\xff'\r\n"), ("b.py", b"x = 1\n")):
        (tmp_path / name).write_bytes(text)
    files = {str(tmp_path / "b.py"), str(tmp_path / "a.py")}
    assert list(python_source(files).documents()) == [b"name = '\xe9\xff'\r\n", b"x = 1\n"]


def test_a_standard_library_is_read_without_what_is_installed_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the tree that was written: a module, a cache, a note, a link to nowhere, packages of two systems."""
    for name in (
        "os.py",
        "json/tool.py",
        "notes.txt",
        "__pycache__/os.py",
        "site-packages/a.py",
        "dist-packages/b.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".#lock.py").symlink_to("nobody@nowhere")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    ours = {path for path in python_files() if path.startswith(str(tmp_path))}
    assert ours == {str(tmp_path / "os.py"), str(tmp_path / "json" / "tool.py")}


def test_a_package_that_is_installed_for_another_purpose_is_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: two installed packages, of which the list names one; that of a third is not there."""
    for name in ("wanted", "launcher"):
        record = tmp_path / f"{name}-1.0.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (record / "RECORD").write_text(f"{name}.py,,\n{name}.so,,\n")
        (tmp_path / f"{name}.py").write_text(name)
    (tmp_path / "packages.txt").write_text("wanted\nmissing\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "PACKAGES", tmp_path / "packages.txt")
    assert {Path(path).name for path in python_files() if path.startswith(str(tmp_path))} == {"wanted.py"}


def test_the_packages_that_are_text_are_those_of_the_lock() -> None:
    """Truth: requirements.lock, with pip and setuptools, which each environment has."""
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {line.partition("==")[0] for line in lock if "==" in line}
    assert set(sources.PACKAGES.read_text().split()) <= locked | {"pip", "setuptools"}


def test_the_machine_has_the_text_that_the_default_corpus_needs() -> None:
    """Truth: what the standard library and the packages of this project weigh anywhere: over 100 MB."""
    state = python_source(python_files()).state
    assert sum(size for _, size, _ in state) > 100e6
    assert any(path.endswith("argparse.py") for path, _, _ in state)
    assert not any(path.endswith("scaling_runs/train.py") for path, _, _ in state)


def test_a_touched_file_changes_the_state(tmp_path: Path) -> None:
    """Truth: the file's time alone is moved."""
    (tmp_path / "a.py").write_text("x = 1")
    before = python_source([str(tmp_path / "a.py")]).state
    os.utime(tmp_path / "a.py", ns=(0, 0))
    assert python_source([str(tmp_path / "a.py")]).state != before


def test_files_folders_and_globs_name_text(tmp_path: Path) -> None:
    """Truth: the texts that were written, however they are named; a file named twice is read once."""
    folder = write_texts(tmp_path / "a [draft]", ["one", "two"])
    write_jsonl(tmp_path / "b.jsonl", ["three", "four"])
    (folder / "readme.md").write_text("not asked for")
    source = text_files([str(folder), str(folder / "0000.txt"), str(tmp_path / "*.jsonl")], "text")
    assert sorted(source.documents()) == [b"four", b"one", b"three", b"two"]


def test_rows_without_text_and_empty_files_are_no_documents(tmp_path: Path) -> None:
    """Truth: only the row with text is left."""
    (tmp_path / "rows.jsonl").write_text('{"text": null}\n{"text": ""}\n{"text": "kept"}\n')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "empty.txt").write_text("")
    assert list(text_files([str(tmp_path)], "text").documents()) == [b"kept"]


def test_another_column_can_hold_the_text(tmp_path: Path) -> None:
    """Truth: the column that was written; .txt files have none to choose and are read beside it."""
    write_jsonl(tmp_path / "rows.jsonl", ["from a row"], column="body")
    (tmp_path / "a.txt").write_text("from a file")
    assert sorted(text_files([str(tmp_path)], "body").documents()) == [b"from a file", b"from a row"]


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("bad.txt", b"\xff\xfe\x00", {}, r"bad\.txt' can't be read .*0xff"),
        ("bad.jsonl", b'{"text": "x"}\n{"te', {}, r"bad\.jsonl' can't be read .*JSON"),
        ("bad.parquet", b"nonsense", {}, r"bad\.parquet' can't be read .*[Pp]arquet"),
        ("rows.jsonl", b'{"text": 3}\n', {}, r"rows\.jsonl': column 'text' holds int, not text"),
        (
            "rows.jsonl",
            b'{"a": "x", "b": "y"}\n',
            {},
            r"no column 'text'; set data\.text_column to one of a, b",
        ),
        ("empty.txt", b"", {}, r"empty\.txt': there is no text"),
        ("blank.jsonl", b'{"text": ""}\n', {}, r"blank\.jsonl': there is no text"),
        ("notes.md", b"text", {}, r"holds no file ending in \.txt"),
        ("a.txt", b"text", {"paths": ["/nowhere/at/all"]}, "'/nowhere/at/all', which is not there"),
        ("a.txt", b"text", {"paths": []}, "data.paths is empty"),
    ],
)
def test_bad_text_is_one_sentence_that_names_the_file(
    tmp_path: Path, name: str, content: bytes, options: dict[str, object], sentence: str
) -> None:
    """Truth: the file at fault, found among good ones of its kind."""
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / name).write_bytes(content)
    if name == "bad.txt":
        write_texts(folder, documents(3))
    paths = options.get("paths", [str(folder)])
    with pytest.raises(UserError, match=sentence) as caught:
        prepare(config_for(tmp_path / "cache", **({"paths": paths} | options)))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set on disk, of two shards with a column more than is needed."""
    folder = tmp_path_factory.mktemp("hub") / "owner" / "texts"
    folder.mkdir(parents=True)
    for shard, texts in enumerate((documents(80)[:40], documents(80)[40:])):
        frame = pd.DataFrame({"id": range(40), "text": texts})
        datasets.Dataset.from_pandas(frame).to_parquet(folder / f"train-{shard:05d}.parquet")
    return folder


def _hub_config(data_set: Path, cache: Path, **options: object) -> DataConfig:
    settings: dict[str, object] = {"val_fraction": 0.25, "cache_dir": str(cache)}
    return DataConfig(kind="hf", hf_path=str(data_set), **(settings | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_data_set_gives_its_documents_streamed_or_not(
    data_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    """Truth: the texts that were written to it."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    corpus = prepare(_hub_config(data_set, tmp_path / "cache", streaming=streaming))
    assert by_hash(documents_of(corpus.train()) + documents_of(corpus.val())) == by_hash(documents(80))


def test_a_stream_stops_where_it_is_told(data_set: Path, tmp_path: Path) -> None:
    """Truth: fewer documents than the data set has, and no fewer tokens than were asked for."""
    corpus = prepare(_hub_config(data_set, tmp_path / "cache", max_train_tokens=1000))
    assert corpus.train_tokens >= 1000
    assert corpus.train_documents + corpus.val_documents < 80


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hf_path": None}, r"data\.hf_path is not set"),
        ({"hf_split": "test"}, r"\(split test\) can't be read"),
        ({"text_column": "body"}, r"no column 'body'; set data\.text_column to one of id, text"),
    ],
)
def test_a_data_set_asked_wrongly_is_one_sentence(
    data_set: Path, tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    """Truth: the sentence names the option."""
    config = _hub_config(data_set, tmp_path / "cache")
    for name, value in options.items():
        setattr(config, name, value)
    with pytest.raises(UserError, match=sentence) as caught:
        prepare(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "environment", [{"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}, {"HF_HUB_OFFLINE": "1"}]
)
def test_without_a_network_a_data_set_is_one_sentence_and_soon(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Truth: nobody listens at port 9, and offline nobody is asked; the hub's own client takes 23 s."""
    code = (
        "import json, time\nfrom fit.errors import UserError\n"
        "from scaling_runs.data import DataConfig\nfrom scaling_runs.data.prepare import prepare\n"
        "began = time.monotonic()\n"
        f"config = DataConfig('hf', hf_path='owner/texts', tokenizer='gpt2', cache_dir={str(tmp_path)!r})\n"
        "try:\n    prepare(config)\nexcept UserError as error:\n"
        "    print(json.dumps([str(error), time.monotonic() - began]))"
    )
    settings = os.environ | {"HF_HOME": str(tmp_path / "hf")} | environment
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=settings, check=True
    )
    sentence, seconds = json.loads(ran.stdout)
    assert "data set 'owner/texts'" in sentence
    assert "reach" in sentence
    assert "data=text_files" in sentence
    assert "\n" not in sentence
    assert seconds < 10


def test_an_unknown_kind_names_the_ones_there_are() -> None:
    """Truth: the three kinds."""
    with pytest.raises(UserError, match="'books'; choose one of python_source, text_files, hf"):
        DataConfig(kind="books")


@pytest.mark.parametrize(
    ("option", "value"), [("val_fraction", 0.0), ("val_fraction", 1.0), ("max_train_tokens", 0)]
)
def test_a_number_out_of_range_is_named(option: str, value: float) -> None:
    """Truth: the sentence names the option and its value."""
    with pytest.raises(UserError, match=rf"data\.{option} is {value}"):
        DataConfig(**{option: value})  # type: ignore[arg-type]
