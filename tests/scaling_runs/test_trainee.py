"""A state that several ranks load: the same on each, or none goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.configs import ROOT

LOAD = """
import os, sys, time
from pathlib import Path
import torch.distributed as dist
from fit.errors import UserError
from scaling_runs import checkpoint
from scaling_runs.checkpoint import Progress, save_checkpoint
from scaling_runs.places import is_local, place
from scaling_runs.runtime import Runtime
from scaling_runs import trainee as trainee_module
from scaling_runs.trainee import trainee_of
from tests.scaling_runs.test_spec import a_spec

rank, folder, protocol, what = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), GROUP_RANK="0")
dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
trainee = trainee_of(a_spec(), Runtime(rank=rank, world_size=2))
if rank == 0:
    save_checkpoint(folder / "there.pt", trainee.model, trainee.optimizers, Progress(7))
dist.barrier()
path = folder / "there.pt"
if protocol == "url":
    from scaling_runs.patient_path import PatientPath
    path = PatientPath(f"file://{path}")
    assert not is_local(path)
restored = checkpoint._restored
if rank == 1 and what in ("late", "never"):
    trainee_module.VIEWS_AGREE_S = 1.0 if what == "never" else 60.0
    began, seen = time.monotonic(), trainee_module._seen
    hidden = lambda: what == "never" or time.monotonic() < began + 3
    trainee_module._seen = lambda path: "no file" if hidden() else seen(path)
if rank == 1 and what == "damaged":
    def damaged(*anything):
        raise RuntimeError("unexpected bytes")
    checkpoint._restored = damaged
if rank == 1 and what == "older":
    checkpoint._restored = lambda *given: Progress(restored(*given).step - 2)
try:
    print("step", trainee.load(path).step)
except UserError as error:
    print(error)
dist.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # as `usage.ranks_end_at_once`: a thread of torch's may abort Python's own end
"""


@pytest.mark.parametrize("protocol", ["folder", "url"])
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("whole", "step 7"),
        ("late", "step 7"),
        (
            "damaged",
            "(step 7, damaged), whose nodes may see another state of its folder; run the same command",
        ),
        ("older", "(step 7, step 5), whose nodes may see another state of its folder; run the same command"),
    ],
)
def test_ranks_go_on_from_one_state_or_say_what_each_has_found(
    tmp_path: Path, protocol: str, what: str, said: str
) -> None:
    """Truth: two real ranks, of which the second reads other bytes, or those of a moment ago."""
    if protocol == "url":
        pytest.importorskip("upath", reason="universal_pathlib is optional")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(rank), str(tmp_path), protocol, what],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    assert all(said in one for one in told), told
