"""One finding, and how runs are named in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NAMED = 5
"""More runs than these are counted, not named."""


@dataclass(frozen=True)
class Warning_:
    """One finding."""

    code: str
    text: str
    budget: float | None = None
    """FLOPs, where it is about one budget."""


def named(run_ids: Sequence[str]) -> str:
    """a, b, c, d, e and 12 more"""
    shown = ", ".join(map(str, run_ids[:NAMED]))
    return shown if len(run_ids) <= NAMED else f"{shown} and {len(run_ids) - NAMED} more"


def runs(count: int, verb: str, verbs: str) -> str:
    """1 run is, 2 runs are"""
    return f"1 run {verb}" if count == 1 else f"{count} runs {verbs}"
