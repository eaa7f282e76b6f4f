"""Where a cell runs. What ranks give together is tested by `tests/test_torchrun.py`, which starts them."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs import runtime
from scaling_runs.layout import largest_micro_batch
from scaling_runs.runtime import Runtime, require_even_shares, start_runtime
from scaling_runs.spec import CellSpec
from tests.configs import ROOT
from tests.scaling_runs.test_spec import a_spec


def spec_with(batch_size: int, seq_len: int = 64) -> CellSpec:
    spec = a_spec()
    recipe = dataclasses.replace(spec.recipe, batch_size=batch_size)
    return dataclasses.replace(spec, recipe=recipe, seq_len=seq_len)


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 16))
def test_ranks_share_a_batch_evenly_or_not_at_all(batch: int, ranks: int) -> None:
    """Truth: divisibility."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", str(ranks))
        if batch % ranks == 0:
            require_even_shares(spec_with(batch))
        else:
            with pytest.raises(UserError, match=rf"a batch of {batch} sequences .* over {ranks} ranks"):
                require_even_shares(spec_with(batch))


@settings(deadline=None)
@given(st.integers(1, 512), st.sampled_from([1, 2, 4, 8]), st.sampled_from([64, 2048, 8192, 65536]))
def test_micro_batches_fit_the_device(shares: int, ranks: int, seq_len: int) -> None:
    """Truth: on a GPU at most MICRO_BATCH_TOKENS in one pass, or one sequence; on a CPU the rank's whole share."""
    spec = spec_with(shares * ranks, seq_len)
    assert Runtime("cpu", world_size=ranks).micro_batch(spec) == shares
    most, memory_bytes = largest_micro_batch(spec, 80e9, ranks, (False, False))
    on_gpu = Runtime("cuda:0", world_size=ranks, most_sequences=most).micro_batch(spec)
    assert on_gpu == most
    assert shares % on_gpu == 0
    assert on_gpu == 1 or on_gpu * seq_len <= runtime.MICRO_BATCH_TOKENS
    assert on_gpu == 1 or memory_bytes <= 0.9 * 80e9


def test_a_cell_on_a_cpu_uses_the_threads_it_is_given(tmp_path: Path) -> None:
    """Truth: torch's own count."""
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            started = start_runtime(a_spec(), threads, tmp_path)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert started.is_main
    assert (started.rank, started.world_size) == (0, 1)
    if not torch.cuda.is_available():
        assert (started.device, started.compile, runtime.default_precision()) == ("cpu", False, "fp32")
        assert not list(tmp_path.iterdir())


def test_one_process_is_its_own_sum_and_mean() -> None:
    """Truth: the value itself, and the very model."""
    alone, model = Runtime(), torch.nn.Linear(2, 2)
    assert alone.wrap(model) is model
    values = torch.tensor([1.0, 2.0])
    alone.sum_over_ranks(values)
    assert values.tolist() == [1.0, 2.0]
    assert float(alone.mean_over_ranks(torch.tensor(3.0))) == 3.0
    assert [alone.agree(True), alone.agree(False)] == [True, False]


def test_ranks_exchange_no_buffers_when_they_evaluate(tmp_path: Path) -> None:
    """Truth: what torch says it will do. Ranks evaluate unequal numbers of chunks: an exchange each would not match."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    try:
        model = torch.nn.BatchNorm1d(2)
        assert list(model.buffers())
        network = Runtime(world_size=2).wrap(model)
        assert isinstance(network, torch.nn.parallel.DistributedDataParallel)
        assert not network.will_sync_module_buffers()
    finally:
        torch.distributed.destroy_process_group()


def test_workers_on_one_machine_claim_a_gpu_each(tmp_path: Path) -> None:
    """Truth: two GPUs and three living processes: each of the first two holds one, the third shares.

    The number of GPUs is all that is feigned: the locks and the processes are real.
    """
    code = (
        "import sys, torch\nfrom pathlib import Path\nfrom scaling_runs import runtime\n"
        "torch.cuda.device_count = lambda: 2\n"
        "first = runtime._claim_gpu(Path(sys.argv[1]))\n"
        "assert first == runtime._claim_gpu(Path(sys.argv[1])), 'a worker keeps its own'\n"
        "print(first, len(runtime._claimed), flush=True)\nsys.stdin.read()"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "locks")],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    told = []
    try:
        for process in running:
            assert process.stdout is not None
            told.append(tuple(int(word) for word in process.stdout.readline().split()))
    finally:
        for process in running:
            process.communicate("")
    assert sorted(gpu for gpu, held in told if held) == [0, 1]
    assert [gpu in (0, 1) for gpu, held in told if not held] == [True]


def test_workers_who_see_one_gpu_each_hold_locks_of_their_own(tmp_path: Path) -> None:
    """Truth: CUDA_VISIBLE_DEVICES, by which Ray gives each worker a GPU that is the first to it; and the host's name.

    Under one name the second would hold nothing, and workers of two hosts would keep each other off.
    """
    code = (
        "import sys, torch\nfrom pathlib import Path\nfrom scaling_runs import runtime\n"
        "torch.cuda.device_count = lambda: 1\n"
        "assert runtime._claim_gpu(Path(sys.argv[1])) == 0"
    )
    for gpu in "0", "1":
        env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": gpu}
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=env, check=True)
    expected = {f"{socket.gethostname()}-gpu-{gpu}.lock" for gpu in (0, 1)}
    assert {path.name for path in tmp_path.iterdir()} == expected


MERGE = """
import json, sys
import torch.distributed as dist
from scaling_runs.runtime import Runtime

rank, meet = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
mine = {0: {"file": 3}, 1: {"file": 5}} if rank == 0 else {1: {"file": 5}, 2: {"file": 7}}
print(json.dumps(sorted(Runtime(rank=rank, world_size=2).merged(mine).items())))
dist.destroy_process_group()
"""


def test_places_in_a_stream_come_together_on_the_rank_that_writes_them(tmp_path: Path) -> None:
    """Truth: the lanes of two real ranks, one of which both read; the other rank keeps no more than its own."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", MERGE, str(rank), str(tmp_path / "meet")],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (json.loads(process.communicate(timeout=120)[0]) for process in running)
    assert first == [[0, {"file": 3}], [1, {"file": 5}], [2, {"file": 7}]]
    assert second == [[1, {"file": 5}], [2, {"file": 7}]]
