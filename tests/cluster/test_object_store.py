"""`store=s3://…` on a real S3 server of this machine: the same run table, whoever dies or shares the work."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.launching import (
    Ran,
    grid,
    launch,
    launch_ranks,
    one_cell,
    reference,
    side_by_side,
    start,
    untimed,
    wait_for,
)
from tests.test_torchrun_sharded import ADAMW, SHARDED, TRUNK

pytest.importorskip("upath", reason="universal_pathlib is optional (requirements-cluster.lock)")
pytest.importorskip("moto", reason="moto is optional (requirements-cluster.lock)")
s3fs = pytest.importorskip("s3fs", reason="s3fs is optional (requirements-cluster.lock)")
BUCKET = "isoflop"


@dataclass(frozen=True)
class Server:
    """moto's S3 server, and how a process finds it."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "FSSPEC_S3_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def files(self) -> s3fs.S3FileSystem:
        return s3fs.S3FileSystem(
            endpoint_url=self.endpoint, key="test", secret="test", use_listings_cache=False
        )

    def rows(self, store: str) -> list[dict[str, str]]:
        text = self.files().cat_file(f"{BUCKET}/{store}/isoflop_tiny/runs.csv").decode()
        return list(csv.DictReader(io.StringIO(text)))

    def finished(self, store: str) -> set[str]:
        return set(self.files().glob(f"{BUCKET}/{store}/cells/*/result.json"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        made = Server(f"http://127.0.0.1:{port}")
        until = time.monotonic() + 60
        while True:
            try:
                made.files().mkdir(BUCKET)
                break
            except Exception:  # it is still starting
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
        yield made
    finally:
        process.terminate()
        process.wait(10)


def options(base: Path, store: str) -> list[str]:
    return [*grid(base, Path("unused"))[:-2], f"store=s3://{BUCKET}/{store}", "tracking=off"]


def test_a_killed_sweep_goes_on_and_gives_the_table_of_a_folder(base: Path, server: Server) -> None:
    """Truth: the run table of the same sweep in a folder, undisturbed; SIGKILL to the whole group after two cells."""
    first = start(*options(base, "killed"), **server.environment)
    wait_for(lambda: len(server.finished("killed")) >= 2, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    # the lease of the cell in the works lapses when nobody renews it; a second run waits for no two minutes here
    for lease in server.files().glob(f"{BUCKET}/killed/**/.lock.*"):
        server.files().rm(lease)
    done = server.finished("killed")
    again = launch(*options(base, "killed"), **server.environment)
    assert again.code == 0, again.err
    assert untimed(server.rows("killed")) == untimed(reference(base).rows())
    assert done <= server.finished("killed")
    assert f"files: s3://{BUCKET}/killed/isoflop_tiny/runs.csv" in again.out
    files = server.files()
    names = {path.rpartition("/")[2] for path in files.ls(f"{BUCKET}/killed/isoflop_tiny", detail=False)}
    assert names >= {"runs.csv", "fit.json", "isoflop.png", "summary.txt"}
    assert not files.glob(f"{BUCKET}/killed/cells/*/.lock*")


def test_two_sweeps_on_one_url_share_the_work(base: Path, server: Server) -> None:
    """Truth: each cell's curve has each step once, and the tables that both write are that of one sweep."""

    def run() -> Ran:
        return launch(*options(base, "shared"), "hydra/launcher=basic", **server.environment)

    runs = side_by_side(run, run)
    assert any(one.code == 0 for one in runs), [one.err for one in runs]
    files = server.files()
    for curve in files.glob(f"{BUCKET}/shared/cells/*/metrics.jsonl"):
        trained = [json.loads(line) for line in files.cat_file(curve).decode().splitlines()]
        steps = [record["step"] for record in trained if "train_loss" in record]
        assert steps == sorted(set(steps))
    again = run()
    assert again.code == 0
    assert untimed(server.rows("shared")) == untimed(reference(base).rows())


@pytest.mark.parametrize(
    ("store", "endpoint"), [("s3://nowhere/x", None), (f"s3://{BUCKET}/x", "http://127.0.0.1:9")]
)
def test_a_store_that_cannot_be_reached_is_told_before_anything_is_trained(
    base: Path, server: Server, store: str, endpoint: str | None
) -> None:
    """Truth: a bucket that nobody made, and a port where nobody listens."""
    environment = server.environment | ({} if endpoint is None else {"FSSPEC_S3_ENDPOINT_URL": endpoint})
    ran = launch(*options(base, "x")[:-2], f"store={store}", "tracking=off", **environment)
    assert ran.code == 2
    assert ran.err.startswith(f"error: store '{store}' can't be reached, or written to (")
    assert ran.err.count("\n") == 1


def test_ranks_that_share_a_model_out_leave_a_state_at_a_url_and_go_on_from_it(
    base: Path, server: Server, tmp_path: Path
) -> None:
    """Truth: the step that the second cell says it began at, and its loss where one process trains it in a folder."""
    cell = [*one_cell(base, tmp_path), *ADAMW, *TRUNK]
    sharded = [*cell, SHARDED, f"store=s3://{BUCKET}/sharded"]
    (alone,) = launch_ranks(1, *cell)
    first = launch_ranks(2, *sharded, "budget=5e8", **server.environment)
    (state,) = server.files().glob(f"{BUCKET}/sharded/trunks/*/*.pt")
    second = launch_ranks(2, *sharded, **server.environment)
    assert [one.code for one in (alone, *first, *second)] == [0] * 5, (alone, first, second)
    began = json.loads(server.files().cat_file(f"{state.rpartition('/')[0]}/began.json"))
    assert state.endswith(f"/{began}.pt")
    (path,) = tmp_path.glob("cells/*/result.json")
    expected = json.loads(path.read_text())
    found = json.loads(server.files().cat_file(f"{BUCKET}/sharded/cells/{path.parent.name}/result.json"))
    assert (found["ranks"], found["tokens"]) == (2, expected["tokens"])
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-4)
