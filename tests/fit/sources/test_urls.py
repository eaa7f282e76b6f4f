"""Run tables at URLs: in memory, by file:// and from a web server; an S3 server is in tests/cluster."""

from __future__ import annotations

import builtins
import gzip
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fit.curves import load_curves
from fit.errors import UserError
from fit.sources import urls
from fit.table import load_runs
from tests.fit.conftest import Run
from tests.fit.test_curves import records, sweep
from tests.simulated import parabolas, rows_of, write_csv

fsspec = pytest.importorskip("fsspec", reason="fsspec is optional")
needs_aiohttp = pytest.mark.skipif(
    find_spec("aiohttp") is None, reason="aiohttp is optional (requirements-cluster.lock)"
)
RUNS = parabolas(budgets=[1e18, 1e19], sizes=4)


@pytest.fixture
def memory(tmp_path: Path) -> str:
    """A folder of a sweep in memory: the runs, and copies of them in other formats."""
    url = f"memory://{uuid.uuid4().hex}/sweep"
    write_csv(tmp_path / "runs.csv", rows_of(RUNS))
    pd.DataFrame(rows_of(RUNS)).to_parquet(tmp_path / "runs.parquet")
    (tmp_path / "runs.csv.gz").write_bytes(gzip.compress((tmp_path / "runs.csv").read_bytes()))
    for file in tmp_path.iterdir():
        fsspec.filesystem("memory").pipe_file(f"{url}/{file.name}", file.read_bytes())
    return url


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of `tmp_path`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("name", ["", "/", "/runs.csv", "/runs.parquet", "/runs.csv.gz"])
def test_a_table_or_a_sweeps_folder_at_a_url_is_read_as_it_was_written(memory: str, name: str) -> None:
    """Truth: the simulated runs, to the last bit."""
    runs = load_runs(memory + name)
    for column in ("budget", "flops", "params", "tokens", "loss"):
        assert np.array_equal(getattr(runs, column), getattr(RUNS, column))
    assert list(runs.run_id) == list(RUNS.run_id)


@needs_aiohttp
def test_a_table_of_a_web_server_is_read_and_its_signature_not_shown(tmp_path: Path, web: str) -> None:
    """Truth: the simulated runs; of a signed URL no message has what follows the question mark."""
    write_csv(tmp_path / "runs.csv", rows_of(RUNS))
    assert np.array_equal(load_runs(f"{web}/runs.csv?signature=secret").loss, RUNS.loss)
    (tmp_path / "runs.csv").write_text("flops\n1\n")
    with pytest.raises(UserError, match=r"/runs.csv' lacks columns") as told:
        load_runs(f"{web}/runs.csv?signature=secret")
    assert "secret" not in str(told.value)


def test_a_file_url_is_the_file(tmp_path: Path, fit: Run) -> None:
    """Truth: the output of the file's own name; the table is not overwritten under this name either."""
    table = write_csv(tmp_path / "runs.csv", rows_of(parabolas()))
    assert fit("isoflop", f"file://{table}").out == fit("isoflop", table).out
    refused = fit("isoflop", f"file://{table}", "--json", table)
    assert (refused.code, "would overwrite" in refused.error) == (2, True)


def test_the_curves_of_a_sweep_at_a_url_are_those_of_its_folder(tmp_path: Path) -> None:
    """Truth: the curves read from the folder; of three cells one has no records."""
    folder = sweep(tmp_path, {"a": records(), "b": records(2), "c": []})
    (tmp_path / "results" / "cells" / "c" / "metrics.jsonl").unlink()
    memory = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").put(str(tmp_path / "results"), f"{memory}/results", recursive=True)
    for here, there in zip(load_curves(folder), load_curves(f"{memory}/results/isoflop_tiny"), strict=True):
        assert (here.run_id, here.params) == (there.run_id, there.params)
        for column in ("flops", "tokens", "loss"):
            assert np.array_equal(getattr(here, column), getattr(there, column))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("MEMORY/none.csv", r"/none\.csv' does not exist; give the URL of a CSV"),
        ("memory://nowhere/at/all", r"'memory://nowhere/at/all' does not exist; "),
        pytest.param("WEB/none.csv", r"/none\.csv' does not exist", marks=needs_aiohttp),
        pytest.param(
            "http://127.0.0.1:9/runs.csv",
            r"can't be read \(.*127\.0\.0\.1.*\); check its name, its endpoint",
            marks=needs_aiohttp,
        ),
        ("nonsense://x/runs.csv", r"can't be read \(Protocol not known: nonsense\); check its name"),
        (
            "gs://bucket/runs.csv",
            r"needs a package that is not installed \(.*gcsfs.*\); pip install fsspec and",
        ),
    ],
)
def test_what_is_not_there_is_told_in_one_sentence(
    memory: str, web: str, fit: Run, url: str, message: str
) -> None:
    """Truth: a file and a folder that nobody made, a port where nobody listens, a package that is not here."""
    said = fit("isoflop", url.replace("MEMORY", memory).replace("WEB", web))
    assert (said.code, said.out, said.error.count("\n")) == (2, "", 1)
    assert re.search(message, said.error), said.error


def test_a_folder_at_a_url_without_a_table_is_told(memory: str) -> None:
    fsspec.filesystem("memory").rm(f"{memory}/runs.csv")
    with pytest.raises(UserError, match=r"folder 'memory://.*/sweep' holds no runs\.csv; give"):
        load_runs(memory)


@needs_aiohttp
def test_a_host_that_takes_the_call_and_says_nothing_is_told_in_time(
    monkeypatch: pytest.MonkeyPatch, fit: Run
) -> None:
    """Truth: a socket that listens and never answers."""
    monkeypatch.setattr(urls, "ANSWERS_WITHIN_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        said = fit("isoflop", f"http://127.0.0.1:{silent.getsockname()[1]}/runs.csv")
        assert time.monotonic() - began < 10
    assert said.code == 2
    assert "can't be read (no answer within 0.5 s); check" in said.error
    assert said.error.count("\n") == 1


def test_without_fsspec_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, fit: Run) -> None:
    """Truth: an import that fails."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "fsspec":
            raise ModuleNotFoundError("No module named 'fsspec'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    said = fit("isoflop", "s3://bucket/sweep/runs.csv")
    assert said.code == 2
    assert (
        "needs a package that is not installed (No module named 'fsspec'); pip install fsspec" in said.error
    )
    assert "s3fs for s3://" in said.error
    assert said.error.count("\n") == 1
