"""One finding, and how runs are named in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

NAMED = 5
"""More runs than these are counted, not named."""


@dataclass(frozen=True)
class Warning_:
    """One finding."""

    code: str
    text: str
    budget: float | None = None
    """FLOPs, where it is about one budget."""
    run: str | None = None
    """Its run_id, where it is about one run."""


def merge_axes(findings: Sequence[Warning_]) -> list[Warning_]:
    """Findings of one budget, code and run along both axes as one, in the place of the first."""
    merged: list[Warning_] = []
    for finding in findings:
        axis, _, text = finding.text.partition(": ")
        at = next((i for i, one in enumerate(merged) if axis == "params" and _mirrors(one, finding)), None)
        if at is None:
            merged.append(finding)
        else:
            first = merged[at].text.removeprefix("tokens: ")
            merged[at] = replace(finding, text=f"tokens and params: {_both(first, text)}")
    return merged


def _mirrors(first: Warning_, second: Warning_) -> bool:
    same = (first.code, first.budget, first.run) == (second.code, second.budget, second.run)
    return same and first.budget is not None and first.text.startswith("tokens: ")


def _both(first: str, second: str) -> str:
    """One sentence, with what differs as `this / that`; both, where they differ in their number of words."""
    words = list(zip(first.split(" "), second.split(" "), strict=False))
    if len(first.split(" ")) != len(second.split(" ")):
        return f"{first}; in params {second}"
    parts = []
    for same, group in groupby(words, key=lambda pair: pair[0] == pair[1]):
        ones, others = (" ".join(side) for side in zip(*group, strict=True))
        mark = ones[-1] if ones[-1] == others[-1] and ones[-1] in ",;:" else ""
        parts.append(ones if same else f"{ones.removesuffix(mark)} / {others}")
    return " ".join(parts)


def named(run_ids: Sequence[str]) -> str:
    """a, b, c, d, e and 12 more"""
    shown = ", ".join(map(str, run_ids[:NAMED]))
    return shown if len(run_ids) <= NAMED else f"{shown} and {len(run_ids) - NAMED} more"


def runs(count: int, verb: str, verbs: str) -> str:
    """1 run is, 2 runs are"""
    return f"1 run {verb}" if count == 1 else f"{count} runs {verbs}"
