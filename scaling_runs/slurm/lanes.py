"""A limit of jobs at once that several arrays share. Slurm's own (`--array=0-9%4`) is of one array. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lane:
    """Arrays that run one after another, each with so many jobs at once."""

    at_once: int
    arrays: tuple[int, ...]
    """Their places in what was given."""


def lanes(jobs: Sequence[int], work_s: Sequence[float], at_once: int) -> list[Lane]:
    """Arrays of so many jobs, and so many seconds of work in all, so that never more than `at_once` jobs run.

    While there are enough, each array has a share of them by its work, so that all end at about the same time; of more
    arrays than that some wait for others.
    """
    if len(jobs) > at_once:
        return _packed(work_s, at_once)
    shares = [1] * len(jobs)
    for _ in range(at_once - len(jobs)):
        wanting = [i for i, share in enumerate(shares) if share < jobs[i]]
        if not wanting:
            break
        shares[max(wanting, key=lambda i: work_s[i] / shares[i])] += 1
    return [Lane(share, (i,)) for i, share in enumerate(shares)]


@dataclass(frozen=True)
class Share:
    """What a living array has of the limit."""

    at_once: int
    jobs: int
    """That wait or run."""
    waits: bool
    """For another living array, whose place it takes when that one has ended."""


def handed_on(shares: Sequence[Share], at_once: int) -> list[int]:
    """Of each array, its jobs at once when those that live have what others no longer need of `at_once`.

    An array that waits keeps what it will have, in the place of what it waits for, and nothing is taken from any.
    """
    found = [share.at_once for share in shares]
    running = sum(min(share.at_once, share.jobs) for share in shares if not share.waits)
    for _ in range(at_once - running):
        wanting = [i for i, share in enumerate(shares) if not share.waits and found[i] < share.jobs]
        if not wanting:
            break
        found[max(wanting, key=lambda i: shares[i].jobs / found[i])] += 1
    return found


def _packed(work_s: Sequence[float], count: int) -> list[Lane]:
    """One job at once in each of `count` lanes; the array of most work goes where there is least."""
    loads, members = [0.0] * count, [[] for _ in range(count)]  # type: tuple[list[float], list[list[int]]]
    for i in sorted(range(len(work_s)), key=lambda i: -work_s[i]):
        lane = loads.index(min(loads))
        loads[lane] += work_s[i]
        members[lane].append(i)
    return [Lane(1, tuple(arrays)) for arrays in members]
