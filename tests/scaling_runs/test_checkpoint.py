"""Saved and restored, bit for bit."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fit.errors import UserError
from models.factory import build_model
from scaling_runs.checkpoint import DamagedCheckpoint, Progress, load_checkpoint, save_checkpoint
from scaling_runs.optim import build_optimizers
from scaling_runs.spec import CellSpec
from tests.configs import ROOT


def test_a_restored_cell_goes_on_as_if_nothing_had_happened(tmp_path: Path, spec: CellSpec) -> None:
    """Truth: the cell that was never saved, three steps on, by torch.equal."""

    def steps(model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], seeds: range) -> None:
        for seed in seeds:
            rows = torch.randint(257, (2, 32), generator=torch.Generator().manual_seed(seed))
            model(input_ids=rows).logits.square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()

    model = build_model(spec.shape, seq_len=32, seed=0, init_std=0.02)
    optimizers = build_optimizers(model, spec.recipe)
    steps(model, optimizers, range(3))
    save_checkpoint(tmp_path / "checkpoint.pt", model, optimizers, Progress(3, 1.5))
    steps(model, optimizers, range(3, 6))

    restored = build_model(spec.shape, seq_len=32, seed=9, init_std=0.02)
    restored_optimizers = build_optimizers(restored, spec.recipe)
    progress = load_checkpoint(tmp_path / "checkpoint.pt", restored, restored_optimizers)
    assert progress == Progress(3, 1.5)
    steps(restored, restored_optimizers, range(3, 6))
    for mine, other in zip(model.parameters(), restored.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_nothing_but_the_whole_file_takes_its_name(tmp_path: Path, spec: CellSpec) -> None:
    model = build_model(spec.shape, seq_len=32, seed=0, init_std=0.02)
    save_checkpoint(tmp_path / "checkpoint.pt", model, build_optimizers(model, spec.recipe), Progress(1, 0.1))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_where_there_is_no_checkpoint_a_cell_begins(tmp_path: Path, spec: CellSpec) -> None:
    model = build_model(spec.shape, seq_len=32, seed=0, init_std=0.02)
    assert load_checkpoint(tmp_path / "none.pt", model, []) == Progress(0, 0.0)


def test_a_save_that_fails_midway_leaves_the_last_checkpoint_whole(tmp_path: Path, spec: CellSpec) -> None:
    """Truth: the checkpoint before it, whose bytes must be the same."""
    path = tmp_path / "checkpoint.pt"
    model = build_model(spec.shape, seq_len=32, seed=0, init_std=0.02)
    optimizers = build_optimizers(model, spec.recipe)
    save_checkpoint(path, model, optimizers, Progress(1, 0.1))
    before = path.read_bytes()

    class Unsaveable(torch.optim.SGD):
        def state_dict(self) -> dict[str, object]:
            return {"state": lambda: None}  # torch can pickle no local function

    with pytest.raises(Exception, match="lambda"):
        save_checkpoint(path, model, [Unsaveable(model.parameters())], Progress(2, 0.2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["noise", "cut", "empty", "other"])
def test_a_damaged_checkpoint_is_named_in_one_sentence(tmp_path: Path, spec: CellSpec, damage: str) -> None:
    """Truth: bytes of chance, half a file, none, and a file of another model."""
    path = tmp_path / "checkpoint.pt"
    model = build_model(spec.shape, seq_len=32, seed=0, init_std=0.02)
    optimizers = build_optimizers(model, spec.recipe)
    save_checkpoint(path, model, optimizers, Progress(1, 0.1))
    whole = path.read_bytes()
    if damage == "other":
        torch.save({"model": {}}, path)
    else:
        path.write_bytes(
            {"noise": b"not a checkpoint", "cut": whole[: len(whole) // 2], "empty": b""}[damage]
        )
    with pytest.raises(UserError, match=rf"{path} is damaged \(\w+\); remove it and run") as told:
        load_checkpoint(path, model, optimizers)
    assert "\n" not in str(told.value)


SLOW = """
import os, sys, time, torch, torch.distributed as dist
from datetime import timedelta
from pathlib import Path
from torch.distributed.fsdp import fully_shard
from scaling_runs.gathering import gather_in_turn
from scaling_runs.sharding import whole

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
meet = f"file://{folder / 'meet'}"
dist.init_process_group("gloo", meet, timedelta(seconds=2), rank=rank, world_size=2)
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
fully_shard(model)
written = []
def write(values):
    time.sleep(4 * (not written))
    written.append(values.tobytes())
tensors = list(model.state_dict().values())
gather_in_turn(tensors, write if rank == 0 else None)
expected = [whole(tensor).numpy().tobytes() for tensor in tensors]
assert rank == 1 or written == expected
sys.stdout.flush()
os._exit(0)  # as `usage.ranks_end_at_once`: a thread of torch's may abort Python's own end
"""


def test_ranks_wait_for_the_one_that_writes_and_ask_for_no_tensor_before_it_does(tmp_path: Path) -> None:
    """Truth: two real ranks, whose group waits for a tensor for 2 s, and a writer that takes 4 s for the first."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW, str(rank), str(tmp_path)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors


SHARING = """
import resource, sys, torch, torch.distributed as dist
from pathlib import Path
from torch.distributed.fsdp import fully_shard
from scaling_runs.checkpoint import DamagedCheckpoint, Progress, load_checkpoint, save_checkpoint
from scaling_runs.sharding import whole

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def trained(layers, rows, seed):
    '''A sharded model and its AdamW, after a step.'''
    with torch.device("meta"):
        model = torch.nn.Sequential(*(torch.nn.Linear(rows, rows) for _ in range(layers)))
    for layer in model:
        fully_shard(layer)
    fully_shard(model)
    model.to_empty(device="cpu")
    torch.manual_seed(10 * rank + seed)
    for p in model.parameters():
        torch.nn.init.normal_(p.to_local())
        p.grad = torch.full_like(p, 0.5 + rank)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    optimizer.step()
    return model, optimizer

small, adamw = trained(2, 65, seed=1)  # 65 rows go in no halves
save_checkpoint(folder / "small.pt", small, [adamw], Progress(3, 1.5), write=rank == 0)
expected = {name: whole(p.detach()) for name, p in small.named_parameters()}
moments = [whole(adamw.state[p]["exp_avg_sq"]) for p in small.parameters()]
other, other_adamw = trained(2, 65, seed=2)
dist.barrier()
assert load_checkpoint(folder / "small.pt", other, [other_adamw]) == Progress(3, 1.5)
for one, two in zip(small.parameters(), other.parameters(), strict=True):
    assert torch.equal(one.to_local(), two.to_local())
    for name in ("exp_avg", "exp_avg_sq", "step"):
        assert torch.equal(whole(adamw.state[one][name]), whole(other_adamw.state[two][name]))
torch.save([expected, moments], folder / f"expected-{rank}.pt")

large, adamw = trained(16, 1024, seed=1)
before = peak()
save_checkpoint(folder / "large.pt", large, [adamw], Progress(), write=rank == 0)
dist.barrier()
print(peak() - before, (folder / "large.pt").stat().st_size)
dist.destroy_process_group()
"""


def test_ranks_that_share_a_model_out_write_what_one_process_reads_and_hold_a_tensor_at_a_time(
    tmp_path: Path,
) -> None:
    """Truth: two real ranks. torch.load finds what they had, bit for bit, and the kernel's peak of both stays low."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SHARING, str(rank), str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    state = torch.load(tmp_path / "small.pt", weights_only=True)
    expected, moments = torch.load(tmp_path / "expected-0.pt", weights_only=True)
    assert list(state["model"]) == list(expected)
    assert all(torch.equal(state["model"][name], tensor) for name, tensor in expected.items())
    found = [state["optimizers"][0]["state"][i]["exp_avg_sq"] for i in range(len(moments))]
    assert all(torch.equal(one, other) for one, other in zip(found, moments, strict=True))
    for line in told:
        grown, size = (int(word) for word in line.split())
        assert size > 2e8
        assert grown < 0.25 * size


def test_a_worker_can_send_home_that_a_checkpoint_is_damaged(tmp_path: Path, spec: CellSpec) -> None:
    """Truth: pickle, by which a worker's process sends what its cell raised."""
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(DamagedCheckpoint) as raised:
        load_checkpoint(path, build_model(spec.shape, seq_len=32, seed=0, init_std=0.02), [])
    sent = pickle.loads(pickle.dumps(raised.value))
    assert (type(sent), str(sent), sent.path) == (DamagedCheckpoint, str(raised.value), path)
