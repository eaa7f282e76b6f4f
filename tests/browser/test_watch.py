"""The live page in a real browser, while a real sweep runs."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.configs import ROOT
from tests.launching import ALONE, ANOTHER_BUDGET, grid, launch_warm, start

WATCH = [sys.executable, "-m", "scaling_runs", "watch"]
POINTS = "document.querySelectorAll('#valleys .points path.point').length"
MINIMA = "state?.charts.tokens.data.filter((trace) => trace.meta.outlined).length"
"""Each is a point too."""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The store of a sweep of six cells that are trained, and the address of its live page."""
    store = tmp_path / "store"
    ran = launch_warm(*grid(tmp_path, store), ALONE)
    assert ran.code == 0, ran.err
    watch = start("isoflop_tiny", f"store={store}", cwd=ROOT, program=WATCH)
    assert watch.stdout is not None
    address = re.search(r"http://\S+", watch.stdout.readline())
    assert address
    yield store, address[0]
    os.killpg(watch.pid, signal.SIGINT)
    watch.communicate(timeout=60)


def test_valleys_fill_in_while_a_sweep_runs_and_nothing_is_wrong_in_the_console(
    browser: Any, watched: tuple[Path, str], tmp_path: Path
) -> None:
    """Truth: a third budget's three cells, trained while the page is open, which is never loaded again."""
    store, address = watched
    page = browser.new_page(viewport={"width": 390, "height": 844})
    wrong: list[str] = []
    page.on("console", lambda told: told.type in ("error", "warning") and wrong.append(told.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto(address)
    page.wait_for_function(f"{POINTS} === {MINIMA} + 6")
    page.evaluate("window.neverLoadedAgain = true")
    ran = launch_warm(*grid(tmp_path, store), ANOTHER_BUDGET, ALONE)
    assert ran.code == 0, ran.err
    page.wait_for_function(f"{POINTS} === {MINIMA} + 9", timeout=30_000)
    page.wait_for_function(
        "document.getElementById('headline').textContent.startsWith('9 cells: 9 finished')"
    )
    assert page.evaluate("window.neverLoadedAgain")
    assert page.locator("#cells td.finished").count() == 9
    assert page.title() == "100% isoflop_tiny"
    page.get_by_label("params").check()
    page.wait_for_function("document.querySelector('#valleys .xtitle').textContent === 'params N'")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert wrong == []
    page.evaluate("window.show = () => { throw new Error('it can not be drawn'); }; state = null")
    page.wait_for_timeout(2500)
    assert wrong
    assert set(wrong) == {"it can not be drawn"}
    assert page.locator("#error").text_content() == "", "the server answers all the while"
