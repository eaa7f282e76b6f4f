"""How ranks meet, agree and part. What they give together is tested by `tests/test_torchrun.py`, which starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fit.errors import UserError
from scaling_runs import ranks
from scaling_runs.ranks import from_rank_0, joined_ranks, rank, require_own_gpus, wait_for_ranks, world_size
from tests.configs import ROOT


def test_without_torchrun_there_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: torchrun's variables are absent; nothing is joined and a value is one's own."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined_ranks():
        assert (rank(), world_size()) == (0, 1)
        assert not torch.distributed.is_initialized()
    value = object()
    assert from_rank_0(value) is value
    wait_for_ranks()


def test_a_rank_takes_its_own_gpu_before_it_meets_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: the order of the two calls and torchrun's LOCAL_RANK; the GPUs are feigned, for here may be none."""
    calls: list[object] = []
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda backend, timeout: calls.append(backend)
    )
    monkeypatch.setattr(torch.distributed, "new_group", lambda backend, timeout: calls.append(backend))
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: calls.append("parted"))
    with joined_ranks():
        assert calls == [3, "nccl", "gloo", "gloo", "gloo"]
    assert calls[-1] == "parted"


def test_more_ranks_than_gpus_are_refused_in_one_sentence() -> None:
    """Truth: three ranks on two GPUs."""
    require_own_gpus(2, 2)
    with pytest.raises(UserError, match=r"a node of 2 GPUs has 3 ranks, .*--nproc-per-node=2"):
        require_own_gpus(3, 2)


def test_ranks_part_after_a_whole_body_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: torch's own word on whether this process is in a group: one that lives at its end may abort it, and to
    leave it where others wait for this rank may take as long as they are patient."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(ranks, "world_size", lambda: 2)  # the group is of this process alone
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 1, "RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    seen: list[bool] = []

    def body(error: type[Exception] | None) -> None:
        with joined_ranks():
            with joined_ranks():
                seen.append(torch.distributed.is_initialized())
            seen.append(torch.distributed.is_initialized())
            if error is not None:
                raise error

    body(None)
    assert seen == [True, True]
    assert not torch.distributed.is_initialized()
    try:
        with pytest.raises(ZeroDivisionError):
            body(ZeroDivisionError)
        assert torch.distributed.is_initialized()
    finally:
        torch.distributed.destroy_process_group()


WAIT = """
import sys, time
from datetime import timedelta
import torch.distributed as dist
from scaling_runs import ranks

rank, meet, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
dist.init_process_group("gloo", timeout=timedelta(seconds=2), init_method=f"file://{meet}", rank=rank, world_size=2)
barrier = dist.barrier
dist.barrier = lambda **group: (time.sleep(4 * (rank == 0)), barrier(**group))
ranks.wait_for_ranks(timedelta(seconds=seconds))
"""


def test_ranks_wait_for_the_first_as_long_as_they_are_told(tmp_path: Path) -> None:
    """Truth: two real ranks of a group that waits 2 s for anything else, the first of which comes 4 s late."""
    running = {
        (seconds, rank): subprocess.Popen(
            [sys.executable, "-c", WAIT, str(rank), str(tmp_path / f"meet-{seconds}"), str(seconds)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        for seconds in (2, 60)
        for rank in range(2)
    }
    codes = {of: process.wait(timeout=120) for of, process in running.items()}
    assert codes[2, 1] != 0
    assert codes[60, 1] == 0


LOSE = """
import os, signal, sys
from scaling_runs import ranks
from scaling_runs.errors import RankLost

try:
    with ranks.joined_ranks():
        if ranks.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.wait_for_ranks(ranks.PREPARING_TIMEOUT)
except RankLost as lost:
    print(lost)
sys.stdout.flush()
os._exit(0)  # as `usage.ranks_end_at_once`: a thread of torch's may abort Python's own end
"""


def test_who_waits_for_days_hears_at_once_that_a_rank_is_gone() -> None:
    """Truth: two real ranks, of which one is killed before it waits. No torchrun tells the other, as none does that
    runs on another node."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    first, _ = [
        subprocess.Popen(
            [sys.executable, "-c", LOSE],
            cwd=ROOT,
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told, _ = first.communicate(timeout=60)
    assert told.startswith(
        "rank 0 has lost another rank, which was killed, failed or hangs, and ends too; run"
    )


AGREE = """
import json, os, sys
from pathlib import Path
import torch.distributed as dist
from fit.errors import UserError
from scaling_runs.ranks import by_rank_0, of_all_ranks, once_a_node

rank, meet = int(sys.argv[1]), sys.argv[2]
node, local = divmod(rank, 2)
os.environ.update(RANK=str(rank), WORLD_SIZE="4", LOCAL_RANK=str(local), GROUP_RANK=str(node))
dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=4)
done = []
def fetch():
    done.append(rank)
    return f"copy of node {node}"
def fail():
    done.append(rank)
    raise UserError(f"rank {rank} says so")
class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")
def fail_oddly():
    raise Odd("this", "that")
told = {"all": of_all_ranks(rank), "copy": once_a_node(fetch), "first": by_rank_0(lambda: done.append(rank) or rank)}
try:
    by_rank_0(fail)
except UserError as error:
    told["error"] = str(error)
try:
    by_rank_0(fail_oddly)
except RuntimeError as error:
    told["odd"] = str(error)
print(json.dumps(told | {"did": done}))
dist.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # as `usage.ranks_end_at_once`: a thread of torch's may abort Python's own end
"""


def test_what_one_rank_does_for_others_is_done_once_and_known_to_all(tmp_path: Path) -> None:
    """Truth: four real ranks, as of two nodes of two: who did what, and what each has of it."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", AGREE, str(rank), str(tmp_path / "meet")],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(4)
    ]
    told = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    for rank_, of_one in enumerate(told):
        assert of_one["all"] == [0, 1, 2, 3]
        assert of_one["copy"] == f"copy of node {rank_ // 2}"
        assert (of_one["first"], of_one["error"]) == (0, "rank 0 says so")
        assert of_one["odd"] == "Odd: this and that"
    assert [of_one["did"] for of_one in told] == [[0, 0, 0], [], [2], []]
