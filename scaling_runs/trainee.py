"""What a cell trains, its model and optimisers, and how their state comes from disk and goes there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from fit.errors import UserError
from scaling_runs.checkpoint import DamagedCheckpoint, Progress, load_checkpoint, save_checkpoint
from scaling_runs.data import BatchReader
from scaling_runs.errors import StoreLost
from scaling_runs.optim import build_optimizers
from scaling_runs.places import VIEWS_AGREE_S, is_local
from scaling_runs.ranks import SAVING_TIMEOUT, from_rank_0, of_all_ranks, wait_for_ranks
from scaling_runs.runtime import Runtime
from scaling_runs.sharding import fill
from scaling_runs.spec import CellSpec

LOOK_EVERY_S = 2.0


@dataclass(frozen=True)
class Trainee:
    """What is trained, and how its state is kept."""

    model: torch.nn.Module
    network: torch.nn.Module
    """The model with its loss, as the ranks train it together."""
    optimizers: list[Optimizer]
    runtime: Runtime

    def load(self, path: Path, *, must_exist: bool = False) -> Progress:
        """By every rank, from the same file. UserError where there is none though one `must_exist`; StoreLost where
        ranks do not find the same in it; DamagedCheckpoint where each finds it damaged.
        """
        damaged = None
        _await_one_view(path)
        try:
            progress = load_checkpoint(path, self.model, self.optimizers)
        except DamagedCheckpoint as error:
            damaged = error
        found = of_all_ranks("damaged" if damaged else f"step {progress.step}")
        if len(set(found)) > 1:
            raise _differs(path, found)
        if damaged:
            raise damaged
        if must_exist and progress.step == 0:
            raise UserError(f"{path} is gone, which another run has removed; run the same command again")
        return progress

    def save(self, path: Path, progress: Progress, batches: BatchReader) -> None:
        """By rank 0, to which all ranks tell where they read, and sharded ones send their parts; all wait for it."""
        lanes = batches.lanes()
        if lanes:
            progress = replace(progress, lanes=self.runtime.merged(lanes))
        if self.runtime.is_main or self.runtime.sharded:
            save_checkpoint(path, self.model, self.optimizers, progress, write=self.runtime.is_main)
        wait_for_ranks(SAVING_TIMEOUT)


def _await_one_view(path: Path) -> None:
    """Return once all ranks see the same file, or none: a network file system shows its clients what was there before
    for up to a minute. StoreLost where they still differ after `VIEWS_AGREE_S`.
    """
    if not is_local(path):  # of which no node has an older view
        return
    until = time.monotonic() + VIEWS_AGREE_S
    while len(set(seen := of_all_ranks(_seen(path)))) > 1:
        if from_rank_0(time.monotonic() > until):
            raise _differs(path, seen)
        time.sleep(LOOK_EVERY_S)


def _seen(path: Path) -> str:
    try:
        there = path.stat()
    except FileNotFoundError:
        return "no file"
    return f"{there.st_size:,} bytes of {time.ctime(there.st_mtime)}"  # whose parts of a second nodes may see unlike


def _differs(path: Path, found: Sequence[str]) -> StoreLost:
    return StoreLost(
        f"{path} is not the same to all ranks ({', '.join(found)}), whose nodes may see another state of its folder; "
        f"run the same command again"
    )


def trainee_of(spec: CellSpec, runtime: Runtime) -> Trainee:
    """Freshly drawn, by the seed."""
    # transformers, for whose seconds only training need wait
    from models.factory import build_model, build_undrawn
    from models.loss import NextTokenLoss

    torch.manual_seed(spec.seed)
    how: dict[str, Any] = {"seq_len": spec.seq_len, "seed": spec.seed, "init_std": spec.recipe.init_std}
    if runtime.sharded:
        model, draw = build_undrawn(spec.shape, **how)
        network = runtime.wrap(NextTokenLoss(model))
        fill(network, draw, runtime.device)
    else:
        model = build_model(spec.shape, **how, device=runtime.device)
        network = runtime.wrap(NextTokenLoss(model))
    return Trainee(model, network, build_optimizers(model, spec.recipe), runtime)
