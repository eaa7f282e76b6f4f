"""Ranks that torchrun started: who they are, how they meet and part, and how they agree."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from fit.errors import UserError
from scaling_runs.errors import RankLost

Answer = TypeVar("Answer")
RANK_TIMEOUT = timedelta(minutes=10)
"""What one rank may keep the others waiting."""
PREPARING_TIMEOUT = timedelta(days=7)
"""The same while rank 0 prepares a corpus, which for one of the web takes hours or days."""
SAVING_TIMEOUT = timedelta(hours=3)
"""The same while rank 0 writes a large state, or fetches one, over a network."""

_waiting: dict[timedelta, dist.ProcessGroup] = {}
"""Groups of all ranks, by what one may keep the others waiting there."""
_apart = False
"""Whether this rank works by itself for the time being."""


def world_size() -> int:
    """Ranks that torchrun started and that act together; 1 without it, and while they work apart."""
    return 1 if _apart else int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return 0 if _apart else int(os.environ.get("RANK", "0"))


@contextmanager
def ranks_apart() -> Iterator[None]:
    """In the body each rank is by itself, as if torchrun had started it alone, but for the GPU that is its own."""
    global _apart
    _apart = True
    try:
        yield
    finally:
        _apart = False


def ranks_are_apart() -> bool:
    return _apart


def _joined() -> bool:
    return dist.is_initialized() and not _apart


@contextmanager
def joined_ranks() -> Iterator[None]:
    """In the body the ranks that torchrun started act together: by NCCL where each has a GPU, by gloo elsewhere.

    A rank takes its own GPU here, for NCCL sends objects by way of the current one, which is the first on every rank.
    They part after a whole body: NCCL would wait for ranks that are lost, or that wait for this one. A rank whose body
    raises is to end its process at once (`usage.ranks_end_at_once`), and torchrun the others. A body inside another's
    is part of that one.
    """
    if world_size() == 1 or _joined():
        yield
        return
    if torch.cuda.is_available():
        require_own_gpus(int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count())
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=RANK_TIMEOUT)
    with losing_a_rank():
        for timeout in (RANK_TIMEOUT, SAVING_TIMEOUT, PREPARING_TIMEOUT):
            _waiting_for(timeout)  # while all live: so the end of one ends the wait of the others at once
        yield
    _waiting.clear()
    dist.destroy_process_group()


@contextmanager
def losing_a_rank() -> Iterator[None]:
    """What NCCL or gloo raise in the body, where another rank is gone, as a RankLost."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):  # gloo's have no type of their own
            raise RankLost(rank(), error) from error
        raise


def wait_for_ranks(timeout: timedelta = RANK_TIMEOUT) -> None:
    """Every rank leaves here together, or fails where one ends, or keeps the others waiting for longer than `timeout`.

    By gloo: NCCL's barrier would hold each GPU at full load, and none of its calls may wait for longer than
    `RANK_TIMEOUT`, from when a rank has asked for it.
    """
    if _joined():
        dist.barrier(group=_waiting_for(timeout))


def _waiting_for(timeout: timedelta) -> dist.ProcessGroup:
    """The group, connected once: who ends before it has connected would be waited for to the last."""
    if timeout not in _waiting:
        _waiting[timeout] = dist.new_group(backend="gloo", timeout=timeout)
    return _waiting[timeout]


def from_rank_0(value: Answer) -> Answer:
    """Rank 0's value, on every rank: for whatever clocks, disks or chance might decide differently on each."""
    if not _joined():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def by_rank_0(do: Callable[[], Answer], timeout: timedelta | None = None) -> Answer:
    """What `do` comes to on rank 0, which alone does it, on every rank; what it raises there, every rank raises.

    timeout: of what may take longer than `RANK_TIMEOUT`.
    """
    if not _joined():
        return do()
    outcome: tuple[Answer | None, Exception | None] = (None, None)
    if dist.get_rank() == 0:
        try:
            outcome = (do(), None)
        except Exception as error:
            outcome = (None, _sendable(error))
    if timeout is not None:
        wait_for_ranks(timeout)
    answer, raised = from_rank_0(outcome)
    if raised is not None:
        raise raised
    return cast(Answer, answer)


def _sendable(error: Exception) -> Exception:
    """`error`, or its words where other ranks could not read it: exceptions with arguments of their own often can't."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def of_all_ranks(mine: Answer) -> list[Answer]:
    """Each rank's value, by rank."""
    if not _joined():
        return [mine]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found


def once_a_node(do: Callable[[], Answer]) -> Answer:
    """What `do` comes to on the first rank of this rank's node, which alone does it there; it may take long."""
    if not _joined():
        return do()
    node = os.environ.get("GROUP_RANK", "0")
    mine = (node, do()) if os.environ["LOCAL_RANK"] == "0" else None
    wait_for_ranks(SAVING_TIMEOUT)
    return next(found[1] for found in of_all_ranks(mine) if found is not None and found[0] == node)


def require_own_gpus(local_ranks: int, gpus: int) -> None:
    """UserError, on each of a node's ranks, where it has more of them than GPUs."""
    if local_ranks > gpus:
        raise UserError(
            f"a node of {gpus} GPUs has {local_ranks} ranks, and each needs one of its own; start torchrun with "
            f"--nproc-per-node={gpus}"
        )
