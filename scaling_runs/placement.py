"""How the cells of a sweep lie on the devices that there are. Rules alone, but for asking the device its memory."""

from __future__ import annotations

import dataclasses

import torch

from fit.errors import UserError
from scaling_runs.layout import largest_micro_batch, way_that_fits
from scaling_runs.ranks import of_all_ranks
from scaling_runs.runtime import Runtime
from scaling_runs.spec import CellSpec


def placed(runtime: Runtime, spec: CellSpec, sharding: str) -> Runtime:
    """`runtime` as it trains `spec`: replicated where a device holds that, else sharded, as `sharding` has it.

    Ranks whose GPUs differ all go by the smallest, or they would not do the same. UserError where no way fits it.
    """
    memory_bytes = least_memory_bytes(runtime.device)
    way = chosen_way(spec, runtime.world_size, memory_bytes, sharding)
    most = largest_micro_batch(spec, memory_bytes, runtime.world_size, way)[0] if memory_bytes else None
    return dataclasses.replace(runtime, sharded=way[0], checkpointing=way[1], most_sequences=most)


def device_memory_bytes(device: str) -> float | None:
    """Of a GPU; None for a CPU, whose memory is not a cell's own."""
    if torch.device(device).type != "cuda":
        return None
    return float(torch.cuda.get_device_properties(device).total_memory)


def least_memory_bytes(device: str) -> float | None:
    """As `device_memory_bytes`, of the rank that has the least; every rank calls this."""
    found = [mine for mine in of_all_ranks(device_memory_bytes(device)) if mine is not None]
    return min(found, default=None)


def fits_alone(spec: CellSpec, memory_bytes: float | None) -> bool:
    """Whether one device of `memory_bytes` trains the cell by itself; None, a CPU's, is never too little."""
    return memory_bytes is None or way_that_fits(spec, memory_bytes, 1) is not None


def chosen_way(
    spec: CellSpec, world_size: int, memory_bytes: float | None, sharding: str
) -> tuple[bool, bool]:
    """(sharded, checkpointing): the quickest way that fits `memory_bytes`; anything fits None.

    `sharding` is auto, or never or always, which on one rank are the same. UserError where no way fits.
    """
    if memory_bytes is None:
        return sharding == "always" and world_size > 1, False
    allowed = {"auto": (False, True), "never": (False,), "always": (world_size > 1,)}[sharding]
    way = way_that_fits(spec, memory_bytes, world_size, allowed)
    if way is None:
        raise UserError(
            f"{spec.shape.name} does not fit {world_size} device(s) of {memory_bytes / 1e9:.3g} GB with "
            f"sharding={sharding}; start more ranks, with sharding=auto, or leave such cells out by sweep.max_params"
        )
    return way
