"""`python -m scaling_runs prepare`: the corpus by itself, beforehand, and in a cache that can be moved."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaling_runs.__main__ import main
from tests.configs import ROOT
from tests.scaling_runs.data.corpora import documents, write_jsonl, write_texts


def prepare(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["prepare", *options]) == 0
    return capsys.readouterr().out


def options(folder: Path, cache: Path) -> list[str]:
    return ["data=text_files", f"data.paths=[{folder}]", "data.val_fraction=0.25", f"data.cache_dir={cache}"]


def test_it_says_what_was_prepared_and_where_and_does_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: the documents that were written; an untouched shard the second time."""
    asked = options(write_texts(tmp_path / "texts", documents(40)), tmp_path / "cache")
    out = prepare(capsys, *asked)
    (shard,) = (tmp_path / "cache").rglob("train.bin")
    written = shard.stat().st_mtime_ns
    assert out.startswith("prepared: 40 local files\n")
    assert "vocabulary 257" in out
    assert f"in {tmp_path / 'cache'}, " in out
    assert "add data.cache_dir=ITS-PLACE" in out
    assert prepare(capsys, *asked).startswith("prepared before: ")
    assert shard.stat().st_mtime_ns == written


def test_a_moved_cache_serves_without_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: the same corpus, its shards untouched, where neither the text nor the first folder is there."""
    texts = write_texts(tmp_path / "texts", documents(40))
    first = prepare(capsys, *options(texts, tmp_path / "cache"))
    shutil.move(tmp_path / "cache", tmp_path / "moved")
    shutil.rmtree(texts)
    out = prepare(capsys, *options(texts, tmp_path / "moved"))
    assert out.startswith("prepared before: ")
    assert f"data.paths names '{texts}', which is not there: what was prepared of it before is used" in out
    assert next(line for line in out.splitlines() if "training tokens" in line) in first


def test_text_that_is_there_but_has_changed_is_prepared_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth: one document more; and the first text again is found without reading."""
    texts = write_texts(tmp_path / "texts", documents(40))
    asked = options(texts, tmp_path / "cache")
    prepare(capsys, *asked)
    (texts / "more.txt").write_text("one more")
    assert prepare(capsys, *asked).startswith("prepared: 41 local files")
    (texts / "more.txt").unlink()
    assert prepare(capsys, *asked).startswith("prepared before: 40 local files")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data=textfiles"], "'data=textfiles' is unknown; did you mean data=text_files?"),
        (["data.tokeniser=x"], "'data.tokeniser' is not an option; did you mean data.tokenizer?"),
        (["data=text_files", "data.paths=[/nowhere]"], "data.paths names '/nowhere', which is not there"),
        (["data=mixture"], "data.parts is empty; name the sources"),
        (["--data=c4"], "'--data=c4' can't be read; options are written without dashes"),
        (
            ["data=mixture", "data.parts=[{name: a, wieght: 1, paths: [x]}]"],
            "'data.parts.wieght' is not an option; did you mean data.parts.weight?",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """Truth: the sentence names the option, and the exit code is 2."""
    with pytest.raises(SystemExit) as ended:
        main(["prepare", *arguments])
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert err.startswith(f"error: {sentence}")
    assert err.count("\n") == 1


def test_an_interrupted_preparation_leaves_no_half_and_begins_again(tmp_path: Path) -> None:
    """Truth: SIGINT within text of half a minute: exit code 130, no corpus; of less text then, the whole."""
    folder = tmp_path / "texts"
    folder.mkdir()
    rows = write_jsonl(folder / "rows.jsonl", documents(60))
    few = rows.read_text()
    rows.write_text(few * 20_000)
    command = [sys.executable, "-m", "scaling_runs", "prepare", *options(folder, tmp_path / "cache")]
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    running = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list((tmp_path / "cache").glob(".building-*/all.bin")):
        assert running.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted; run the same command again to begin anew" in err
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".prepare.lock"]
    rows.write_text(few)
    again = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert again.stdout.startswith("prepared: local file")
