"""Cores of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from scaling_runs.cores import own_cores
from tests.configs import ROOT

pytestmark = pytest.mark.skipif(
    len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="needs two cores"
)


@pytest.fixture(autouse=True)
def away_from_other_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks in a folder of the test's own, for cells may be training beside it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


HOLDER = """
import sys
from scaling_runs.cores import own_cores
with own_cores(1) as cores:
    print(*cores, flush=True)
    sys.stdin.readline()
"""


def held_by_another() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_process_keeps_to_its_core_and_goes_back_to_where_it_was() -> None:
    """Truth: what the system says of this process and of a thread that was there before."""
    before = os.sched_getaffinity(0)
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        with own_cores(1) as cores:
            assert len(cores) == 1
            assert cores < before
            assert os.sched_getaffinity(0) == os.sched_getaffinity(thread.native_id) == cores
        assert os.sched_getaffinity(0) == os.sched_getaffinity(thread.native_id) == before
    finally:
        waiting.set()
        thread.join()


def test_no_two_processes_have_one_core_and_one_that_is_killed_lets_go() -> None:
    """Truth: another process's word on its core; once as many processes as cores hold one, a next has none."""
    allowed = sorted(os.sched_getaffinity(0))
    others = [held_by_another() for _ in allowed]
    try:
        told = [other.stdout.readline().split() for other in others if other.stdout]
        assert sorted(int(core) for cores in told for core in cores) == allowed
        with own_cores(1) as mine:
            assert mine == set()
            assert sorted(os.sched_getaffinity(0)) == allowed
        others[0].kill()
        others[0].wait()
        with own_cores(1) as mine:
            assert mine == {int(told[0][0])}
    finally:
        for other in others:
            other.kill()
            other.communicate()


def test_whoever_asks_for_all_cores_stays_where_it_is() -> None:
    with own_cores(len(os.sched_getaffinity(0))) as cores:
        assert cores == set()
