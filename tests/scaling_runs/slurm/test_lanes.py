"""A limit of jobs at once that several arrays share."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_runs.slurm.lanes import Lane, Share, handed_on, lanes

ARRAYS = st.lists(st.tuples(st.integers(1, 30), st.floats(1, 1e5)), min_size=1, max_size=12)


def most_at_once(found: list[Lane], jobs: list[int]) -> int:
    """Jobs that run at the same time at most, where each of a lane's arrays begins when the last of the one before it
    has ended, and every job takes a while of its own."""
    moments: list[tuple[float, int]] = []
    for lane in found:
        begin = 0.0
        for array in lane.arrays:
            free = [begin] * lane.at_once
            for number in range(jobs[array]):
                start = heapq.heappop(free)
                end = start + 1 + (7 * number + array) % 5
                heapq.heappush(free, end)
                moments += [(start, 1), (end, -1)]
            begin = max(free)
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return most


@given(ARRAYS, st.integers(1, 40))
def test_never_more_than_the_limit_run_and_every_array_runs_once(
    arrays: list[tuple[int, float]], at_once: int
) -> None:
    """Truth: a simulated queue, and the arrays' places."""
    jobs, work_s = [count for count, _ in arrays], [work for _, work in arrays]
    found = lanes(jobs, work_s, at_once)
    assert sorted(place for lane in found for place in lane.arrays) == list(range(len(arrays)))
    assert min(lane.at_once for lane in found) >= 1
    assert most_at_once(found, jobs) <= at_once


@given(ARRAYS, st.integers(1, 40))
def test_no_part_of_the_limit_is_left_unused_while_an_array_could_use_it(
    arrays: list[tuple[int, float]], at_once: int
) -> None:
    """Truth: either the limit is given away in full, or every array has as much as it has jobs."""
    jobs, work_s = [count for count, _ in arrays], [work for _, work in arrays]
    found = lanes(jobs, work_s, at_once)
    given_away = sum(lane.at_once for lane in found)
    assert given_away == min(at_once, sum(jobs)) or len(arrays) > at_once == given_away


@pytest.mark.parametrize(
    ("jobs", "work_s", "at_once", "expected"),
    [
        ([10], [100.0], 4, [Lane(4, (0,))]),
        ([10, 10], [300.0, 100.0], 4, [Lane(3, (0,)), Lane(1, (1,))]),
        ([2, 10], [300.0, 100.0], 6, [Lane(2, (0,)), Lane(4, (1,))]),
        ([5, 5, 5], [10.0, 30.0, 20.0], 1, [Lane(1, (1, 2, 0))]),
        ([5, 5, 5], [10.0, 30.0, 20.0], 2, [Lane(1, (1,)), Lane(1, (2, 0))]),
    ],
)
def test_shares_are_as_by_hand(
    jobs: list[int], work_s: list[float], at_once: int, expected: list[Lane]
) -> None:
    """Truth: shares by work, no array with more than its jobs; the longest first where some have to wait."""
    assert lanes(jobs, work_s, at_once) == expected


@given(ARRAYS, st.integers(1, 40), st.data())
def test_with_what_is_handed_on_never_more_than_the_limit_run_and_none_of_it_lies_idle(
    arrays: list[tuple[int, float]], at_once: int, data: st.DataObject
) -> None:
    """Truth: a simulated queue, in which jobs end in any order, and whoever shares out may miss the end of an array."""
    jobs, work_s = [count for count, _ in arrays], [work for _, work in arrays]
    found = lanes(jobs, work_s, at_once)
    limit = {array: lane.at_once for lane in found for array in lane.arrays}
    after = {
        array: before for lane in found for before, array in zip(lane.arrays, lane.arrays[1:], strict=False)
    }
    left = dict(enumerate(jobs))
    while left:
        running = [array for array in left if after.get(array) not in left]
        assert sum(min(limit[array], left[array]) for array in running) <= at_once
        ending = data.draw(st.sampled_from(running))
        left[ending] = data.draw(st.integers(0, left[ending] - 1))
        if not left[ending]:
            del left[ending]
        if data.draw(st.booleans()):
            shares = [Share(limit[array], left[array], after.get(array) in left) for array in left]
            limit |= dict(zip(left, handed_on(shares, at_once), strict=True))
            begun = [array for array in left if after.get(array) not in left]
            spare = at_once - sum(min(limit[array], left[array]) for array in begun)
            assert spare == 0 or all(limit[array] >= left[array] for array in begun)


SHARES = st.lists(st.builds(Share, st.integers(1, 8), st.integers(1, 30), st.booleans()), max_size=8)


@given(SHARES, st.integers(1, 60))
def test_what_an_array_no_longer_needs_is_handed_on_and_nothing_is_taken(
    shares: list[Share], at_once: int
) -> None:
    """Truth: the limit, what each had, and what each can use."""
    before = [share.at_once for share in shares]
    found = handed_on(shares, at_once)
    running = [i for i, share in enumerate(shares) if not share.waits]
    given_away = sum(min(found[i], shares[i].jobs) for i in running)
    assert given_away <= max(at_once, sum(min(before[i], shares[i].jobs) for i in running))
    for share, limit in zip(shares, found, strict=True):
        assert limit >= share.at_once
        assert limit <= max(share.at_once, share.jobs)
        assert limit == share.at_once or not share.waits
    if given_away < at_once:
        assert all(share.waits or limit >= share.jobs for share, limit in zip(shares, found, strict=True)), (
            "nobody could use the rest"
        )
