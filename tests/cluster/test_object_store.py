"""`store=s3://…` on a real S3 server of this machine: the same run table, whoever dies or shares the work."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from transformers import AutoModelForCausalLM, AutoTokenizer

from scaling_runs.leases import LEASE_S
from tests.configs import ROOT
from tests.launching import (
    ALONE,
    PATIENCE_S,
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
    workers,
)
from tests.test_torchrun_sharded import ADAMW, SHARDED, TRUNK

pytest.importorskip("upath", reason="universal_pathlib is optional (requirements-cluster.lock)")
pytest.importorskip("moto", reason="moto is optional (requirements-cluster.lock)")
boto3 = pytest.importorskip("boto3", reason="boto3 comes with moto")
s3fs = pytest.importorskip("s3fs", reason="s3fs is optional (requirements-cluster.lock)")
BUCKET = "isoflop"
STOPPING = f"""
import os, runpy, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from scaling_runs import meetings, outages, places
from scaling_runs.s3 import PromptS3
PromptS3.read_timeout = 1
places.OPTIONS["s3"]["config_kwargs"]["retries"]["max_attempts"] = 0
outages.PATIENCE_S = float(os.environ["PATIENCE_S"])
meetings.SAVE_EVERY_S, meetings.MAX_SAVE_SHARE = 0, 1
def saved(self, started_at):
    try:
        open(os.environ["STOPPED"], "x").close()
    except FileExistsError:
        return
    os.kill(int(os.environ["SERVER"]), signal.SIGSTOP)
meetings.SaveClock.saved = saved
sys.argv[0] = {str(ROOT / "launch.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""launch.py, which stops the server right after the first checkpoint, and soon takes silence for an outage."""


@dataclass(frozen=True)
class Server:
    """moto's S3 server, and how a process finds it."""

    endpoint: str
    pid: int

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

    def demand_keys(self, demanded: bool) -> None:
        """Whether only the keys that this server has made are good for anything."""
        count = "0" if demanded else "inf"
        requests.post(
            f"{self.endpoint}/moto-api/reset-auth", data=count.encode(), timeout=10
        ).raise_for_status()

    def attempts(self, store: str) -> dict[str, list[dict[str, Any]]]:
        """Of each cell that came to train."""
        files = self.files()
        return {
            path.split("/")[-2]: [json.loads(line) for line in files.cat_file(path).decode().splitlines()]
            for path in files.glob(f"{BUCKET}/{store}/cells/*/attempts.jsonl")
        }

    def drop_leases(self, store: str) -> None:
        """As if two minutes had passed: those of who is gone lapse then."""
        files = self.files()
        for lease in files.glob(f"{BUCKET}/{store}/**/.lock.*"):
            files.rm(lease)

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
        made = Server(f"http://127.0.0.1:{port}", process.pid)
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
    server.drop_leases("killed")
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


def test_a_worker_that_is_killed_costs_no_cell_but_the_two_minutes_of_its_lease(
    base: Path, server: Server
) -> None:
    """Truth: the run table of the same sweep in a folder; SIGKILL to one of two workers that each have a cell."""
    running = start(*options(base, "worker"), "hydra.launcher.n_jobs=2", **server.environment)
    wait_for(lambda: len(server.attempts("worker")) >= 2 and bool(workers(running.pid)), running)
    os.kill(workers(running.pid)[0], signal.SIGKILL)
    out, err = running.communicate(timeout=PATIENCE_S + LEASE_S)
    assert running.returncode == 0, err
    assert re.search(r"^warning: A worker process .*; what is left is launched again$", out, re.M)
    assert "failed" not in out
    assert untimed(server.rows("worker")) == untimed(reference(base).rows())


def test_two_sweeps_on_one_url_share_the_work(base: Path, server: Server) -> None:
    """Truth: each cell's curve has each step once, and the tables that both write are that of one sweep."""

    def run() -> Ran:
        return launch(*options(base, "shared"), "hydra/launcher=basic", **server.environment)

    runs = side_by_side(run, run)
    assert [(one.code, one.err) for one in runs] == [(0, "")] * 2
    files = server.files()
    for curve in files.glob(f"{BUCKET}/shared/cells/*/metrics.jsonl"):
        trained = [json.loads(line) for line in files.cat_file(curve).decode().splitlines()]
        steps = [record["step"] for record in trained if "train_loss" in record]
        assert steps == sorted(set(steps))
    again = run()
    assert again.code == 0
    assert untimed(server.rows("shared")) == untimed(reference(base).rows())


def test_the_best_model_of_each_budget_is_kept_at_a_url(base: Path, server: Server, tmp_path: Path) -> None:
    """Truth: the lowest losses of the run table; transformers loads what a copy of the folder holds."""
    ran = launch(*options(base, "models"), "keep_models=best", "hydra/launcher=basic", **server.environment)
    assert ran.code == 0, ran.err
    rows, files = server.rows("models"), server.files()
    budgets = {row["budget"] for row in rows}
    best = {
        min((row for row in rows if row["budget"] == budget), key=lambda row: float(row["loss"]))["run_id"]
        for budget in budgets
    }
    weights = files.glob(f"{BUCKET}/models/cells/*/model/model.safetensors")
    assert {path.split("/")[-3] for path in weights} == best
    files.get(weights[0].rpartition("/")[0] + "/", str(tmp_path / "model") + "/", recursive=True)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "model").vocab_size <= model.config.vocab_size


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


def test_keys_that_the_store_does_not_know_are_told_before_anything_is_trained(
    base: Path, server: Server
) -> None:
    """Truth: keys that nobody made, beside those of a user that the server has; by its own check of signatures."""
    environment = server.environment
    iam = boto3.client(
        "iam",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    iam.create_user(UserName="a")
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_user_policy(UserName="a", PolicyName="all", PolicyDocument=document)
    made = iam.create_access_key(UserName="a")["AccessKey"]
    known = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
    store = f"s3://{BUCKET}/keys"
    ask = [sys.executable, "-m", "scaling_runs", "status", "isoflop_tiny", f"store={store}"]
    server.demand_keys(True)
    try:
        refused, asked, welcome = side_by_side(
            lambda: launch(*options(base, "keys"), **environment),
            lambda: launch(program=ask, cwd=ROOT, **environment),
            lambda: launch(program=ask, cwd=ROOT, **environment | known),
        )
    finally:
        server.demand_keys(False)
    for ran in (refused, asked):
        assert ran.code == 2
        assert ran.err.startswith(
            f"error: store '{store}' can't be reached, or written to (Forbidden); check its "
        )
        assert ran.err.count("\n") == 1
    assert (welcome.code, welcome.err.startswith("error: sweep 'isoflop_tiny' is not in the store")) == (
        2,
        True,
    )
    assert not server.files().exists(f"{BUCKET}/keys")


def test_a_short_outage_in_mid_cell_is_ridden_out(base: Path, server: Server) -> None:
    """Truth: the run table of the same sweep in a folder; SIGSTOP for three seconds, said once."""
    stopped = base / "stopped-for-a-while"
    running = stopping(base, "outage", server, stopped, patience_s=60)
    try:
        wait_for(stopped.exists, running)
        time.sleep(3)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    out, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, err
    warning, over = err.splitlines()
    assert re.fullmatch(
        rf"warning: s3://{BUCKET}/outage/\S+ can't be read or written \(.*\); trying again for up to 60 s",
        warning,
    )
    assert re.fullmatch(r"the store answers again, after \d+ s", over)
    assert untimed(server.rows("outage")) == untimed(reference(base).rows())
    assert "failed" not in out
    assert all(len(attempts) == 1 for attempts in server.attempts("outage").values())


def test_a_long_outage_ends_the_run_with_its_reason_and_the_next_goes_on_from_the_checkpoint(
    base: Path, server: Server
) -> None:
    """Truth: the run table of the same sweep in a folder; of the cell in the works, the step that it went on from."""
    stopped = base / "stopped-for-good"
    running = stopping(base, "lost", server, stopped, patience_s=3)
    try:
        _, err = running.communicate(timeout=PATIENCE_S)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert running.returncode == 1, err
    warning, error = err.splitlines()
    assert warning.startswith("warning: s3://")
    assert re.fullmatch(
        rf"error: s3://{BUCKET}/lost/\S+ could not be read or written for \d+ s \(.*\); run the same command again "
        r"once the store answers, to go on from the last checkpoints",
        error,
    )
    assert not server.files().glob(f"{BUCKET}/lost/cells/*/failure.json")
    server.drop_leases("lost")
    again = launch(*options(base, "lost"), ALONE, **server.environment)
    assert again.code == 0, again.err
    assert untimed(server.rows("lost")) == untimed(reference(base).rows())
    (twice,) = [attempts for attempts in server.attempts("lost").values() if len(attempts) > 1]
    assert [attempt["from"] for attempt in twice] == ["nothing", "checkpoint"]
    assert twice[1]["step"] > 0


def stopping(
    base: Path, store: str, server: Server, stopped: Path, patience_s: float
) -> subprocess.Popen[str]:
    """The sweep by `STOPPING`, one cell after another in one process."""
    return start(
        *options(base, store),
        ALONE,
        cwd=ROOT,
        program=[sys.executable, "-c", STOPPING],
        **server.environment,
        PATIENCE_S=str(patience_s),
        STOPPED=str(stopped),
        SERVER=str(server.pid),
    )


def fit(*arguments: str, server: Server, **environment: str) -> Ran:
    program = [sys.executable, "-m", "fit"]
    return launch("isoflop", *arguments, program=program, cwd=ROOT, **server.environment | environment)


def test_the_fit_reads_a_sweep_and_its_curves_where_they_are(base: Path, server: Server) -> None:
    """Truth: what it prints of the same sweep in a folder, whose files are copied to the server."""
    here = reference(base)
    server.files().put(str(here.store), f"{BUCKET}/fit", recursive=True)
    folder, url = str(here.folder), f"s3://{BUCKET}/fit/isoflop_tiny"
    local, sweep, table, local_curves, curves = side_by_side(
        lambda: fit(folder, server=server),
        lambda: fit(url, server=server),
        lambda: fit(f"{url}/runs.csv", server=server),
        lambda: fit(folder, "--curves", folder, server=server),
        lambda: fit(url, "--curves", url, server=server),
    )
    assert (local.code, sweep.code, table.code) == (0, 0, 0), (sweep.err, table.err)
    assert sweep.out == local.out.replace(folder, url)
    assert table.out == sweep.out.replace(url, f"{url}/runs.csv")
    # six curves are too few for an envelope, here and there
    assert curves.err.startswith("error: of 6 curves fewer than")
    assert curves.err == local_curves.err


def test_what_the_fit_cannot_read_is_told_in_one_sentence(base: Path, server: Server) -> None:
    """Truth: a key and a bucket that nobody made, keys that the server does not know, a port where nobody listens."""
    there = f"s3://{BUCKET}/told/runs.csv"
    server.files().pipe_file(f"{BUCKET}/told/runs.csv", b"flops,tokens,loss\n1,2,3\n")
    dead = {"FSSPEC_S3_ENDPOINT_URL": "http://127.0.0.1:9"}
    no_key, no_bucket, nobody = side_by_side(
        lambda: fit(f"s3://{BUCKET}/told/none.csv", server=server),
        lambda: fit("s3://nowhere/told/runs.csv", server=server),
        lambda: fit(there, server=server, **dead),
    )
    server.demand_keys(True)
    try:
        no_right = fit(there, server=server)
    finally:
        server.demand_keys(False)
    for ran, said in (
        (no_key, f"'s3://{BUCKET}/told/none.csv' does not exist; give the URL of a CSV"),
        (
            no_bucket,
            "'s3://nowhere/told/runs.csv' does not exist (The specified bucket does not exist); give",
        ),
        (nobody, f"'{there}' can't be read (Could not connect to the endpoint URL"),
        (no_right, f"'{there}' can't be read (Forbidden); check its name, its endpoint, the credentials"),
    ):
        assert ran.err.startswith(f"error: {said}")
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
