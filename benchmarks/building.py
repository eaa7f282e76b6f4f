"""Memory and time that one rank needs to build its share of a model, of which it never has the whole.

    python benchmarks/building.py              # the 16B shape of isoflop_llama3 as rank 0 of 64
    python benchmarks/building.py 1024 8       # width, ranks

A fake process group stands for the other ranks: building exchanges nothing. The peak is the kernel's own, on a CPU.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.memory import LLAMA3, SEQ_LEN
from models.factory import build_undrawn
from models.flops import params
from models.loss import NextTokenLoss
from scaling_runs.sharding import fill, shard


def peak_bytes() -> int:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    width, ranks = (int(word) for word in sys.argv[1:] or ("5376", "64"))
    torch.set_num_threads(1)
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    mesh = dist.device_mesh.init_device_mesh("cpu", (ranks,))
    shape = LLAMA3.shape(width)
    before, began_s = peak_bytes(), time.process_time()
    model, draw = build_undrawn(shape, seq_len=SEQ_LEN, seed=0, init_std=0.02)
    network = NextTokenLoss(model)
    shard(network, mesh, "bf16")
    fill(network, draw, "cpu")
    core_s, grown = time.process_time() - began_s, peak_bytes() - before
    size = params(shape, SEQ_LEN, "all")
    print(f"{size / 1e9:.3g}B parameters, {4 * size / 1e9:.3g} GB in fp32, one of {ranks} ranks:")
    print(f"grows by {grown / 1e9:.3g} GB at its peak, and takes {core_s:.0f} s of a core")
    print(json.dumps({"params": size, "ranks": ranks, "grown_bytes": grown, "core_s": round(core_s, 1)}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
