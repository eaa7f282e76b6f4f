"""Cells side by side on a cluster: when each would end. Pure."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

from scaling_runs.hardware import GPUS_A_NODE
from scaling_runs.layout import Layout


def ends_s(seconds: Iterable[float], at_once: int) -> float:
    """When the last of cells, begun in this order, ends: whoever is free takes the next."""
    free = [0.0] * at_once
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def packed_s(layouts: Sequence[Layout], gpus: int, at_once: int | None = None) -> float:
    """Seconds until the last cell ends on `gpus`, whole nodes but for the last one, with `at_once` cells at most.

    Whenever GPUs are free the cell starts that wants the most of them, the longest of those. A cell of a node or
    less lies within one, a larger one on whole nodes.
    """
    waiting: dict[int, deque[float]] = defaultdict(deque)
    for cell in sorted(layouts, key=lambda cell: -cell.seconds):
        waiting[cell.gpus].append(cell.seconds)
    free = [GPUS_A_NODE] * (gpus // GPUS_A_NODE) + [gpus % GPUS_A_NODE] * (gpus % GPUS_A_NODE > 0)
    now, order = 0.0, 0
    ends: list[tuple[float, int, dict[int, int]]] = []
    while any(waiting.values()) or ends:
        for count in sorted(waiting, reverse=True):
            while (
                waiting[count]
                and (at_once is None or len(ends) < at_once)
                and (taken := _place(free, count)) is not None
            ):
                for node, share in taken.items():
                    free[node] -= share
                order += 1
                heapq.heappush(ends, (now + waiting[count].popleft(), order, taken))
        now, _, given_back = heapq.heappop(ends)
        for node, share in given_back.items():
            free[node] += share
    return now


def _place(free: list[int], count: int) -> dict[int, int] | None:
    """GPUs to take of each node; None where there is no room. A part of a node is taken of the fullest that has it."""
    if count < GPUS_A_NODE:
        room = [node for node, here in enumerate(free) if here >= count]
        return {min(room, key=lambda node: free[node]): count} if room else None
    whole = [node for node, here in enumerate(free) if here == GPUS_A_NODE]
    wanted = count // GPUS_A_NODE
    return dict.fromkeys(whole[:wanted], GPUS_A_NODE) if len(whole) >= wanted else None
