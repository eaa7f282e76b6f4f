"""A state that ranks share out, written as the very file that `torch.save` makes of the whole, one tensor at a time.

`torch.distributed.checkpoint` writes a folder of a file a rank, which is quicker on many nodes. One file was chosen:
it takes its name at once or not at all, at a URL too, is the same however many ranks wrote it, and is read by
`torch.load` alone. Rank 0 alone writes it, for network file systems promise nothing to several writers of one file.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.serialization import skip_data

from scaling_runs.ranks import SAVING_TIMEOUT, wait_for_ranks
from scaling_runs.sharding import whole

LOCAL_HEADER_BYTES = 30
"""Of a zip file, before the record's name and what is padded (PKWARE's APPNOTE, 4.3.7)."""


def is_shared_out(state: Any) -> bool:
    """Whether ranks have a share each of any of its tensors."""
    return any(isinstance(tensor, DTensor) for tensor in _tensors(state))


def save_in_turn(state: Any, file: BinaryIO | None) -> None:
    """Every rank calls this with its share of `state`; the one that has a `file` writes the whole into it.

    No rank has more than one tensor whole.
    """
    places = iter(_reserve(state, file) if file is not None else [])

    def write(values: Any) -> None:
        assert file is not None
        file.seek(next(places))
        file.write(values)

    gather_in_turn(_tensors(state), write if file is not None else None)


def gather_in_turn(tensors: Iterable[torch.Tensor], write: Callable[[Any], object] | None) -> None:
    """Every rank that has a share of `tensors` calls this; the one that has a `write` gets the bytes of each, whole.

    The others wait for it after each: else they would ask for all at once, and NCCL, which counts the time from there,
    would lose its patience while that one writes.
    """
    for tensor in tensors:
        values = whole(tensor)
        if write is not None:
            write(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        del values  # before the next one is gathered
        if isinstance(tensor, DTensor):
            wait_for_ranks(SAVING_TIMEOUT)


def _reserve(state: Any, file: BinaryIO) -> list[int]:
    """Write all of `state` but its numbers; where in the file those of each tensor belong."""
    with FakeTensorMode():
        hollow = _hollow(state)
    with skip_data(materialize_fake_tensors=True):
        torch.save(hollow, file)
    with zipfile.ZipFile(file) as archive:
        records = {record.filename.partition("/")[2]: record for record in archive.infolist()}
    places = []
    for i, tensor in enumerate(_tensors(state)):
        record = records[f"data/{i}"]  # numbered as they were met
        assert record.file_size == tensor.numel() * tensor.element_size()
        file.seek(record.header_offset + LOCAL_HEADER_BYTES - 4)
        places.append(record.header_offset + LOCAL_HEADER_BYTES + sum(struct.unpack("<HH", file.read(4))))
    return places


def _hollow(state: Any) -> Any:
    """`state` with fake tensors in place of its own, each by itself and on the CPU."""
    if isinstance(state, torch.Tensor):
        return torch.empty(state.shape, dtype=state.dtype, device="cpu")
    if isinstance(state, dict):
        return {key: _hollow(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_hollow(value) for value in state]
    return state


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    """In the order in which they are saved."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict | list):
        for value in state.values() if isinstance(state, dict) else state:
            yield from _tensors(value)
