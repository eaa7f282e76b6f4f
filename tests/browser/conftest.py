"""A real browser: Debian's chromium, driven by playwright. Skipped where either is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fit.curves import Curve
from fit.isoflop import IsoflopFit, fit_isoflop
from fit.report.html.page import Extra, write_report
from fit.result import write_fit
from tests.fit.conftest import fit as fit  # the fixture: the command line as a user types it
from tests.simulated import Surface

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is of the group browser")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the PATH; apt-get install chromium, or name one by CHROMIUM=")
    with playwright.sync_playwright() as started:
        # root, as in a container, has no sandbox
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield found
        found.close()


class Opened:
    """A page, and all that it complained of or asked the network for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("request", lambda request: self._request(request.url))

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.troubles.append(f"{kind}: {text}")

    def _request(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.troubles.append(f"request: {url}")


Open = Callable[..., Opened]


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """A function that opens a file, in a window of its own."""
    contexts = []

    def open_(path: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.goto(path.as_uri())
        opened.page.wait_for_selector("html[data-ready]")
        return opened

    yield open_
    for context in contexts:
        context.close()


HOSTILE = "</script><img src=x onerror=alert(1)> & <b>run</b>"


@pytest.fixture(scope="session")
def fitted() -> IsoflopFit:
    """Of simulated runs, one of whose names tries to be markup."""
    runs = Surface().runs(span=6, noise=0.002)
    names = np.array([HOSTILE, *(f"run {i}" for i in range(1, len(runs)))])
    return fit_isoflop(replace(runs, run_id=names, source=HOSTILE), resamples=50)


@pytest.fixture(scope="session")
def report_file(fitted: IsoflopFit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the fit's JSON beside it, where the panel's command looks for it."""
    folder = tmp_path_factory.mktemp("lr1.0e-3.exp")
    write_fit(fitted, folder / "fit.json")
    extra = Extra("Of this sweep", "</pre><script>alert(1)</script>")
    write_report(fitted, folder / "report.html", _curves(fitted), [extra], str(folder / "fit.json"), HOSTILE)
    return folder / "report.html"


def _curves(fitted: IsoflopFit) -> list[Curve]:
    """Of each run, from a tenth of its FLOPs on."""
    table, shares = fitted.table, np.geomspace(0.1, 1, 20)
    surface = Surface()
    return [
        Curve(
            str(table.run_id[i]),
            float(table.params[i]),
            shares * table.flops[i],
            shares * table.tokens[i],
            surface.loss(table.params[i], shares * table.tokens[i]),
        )
        for i in range(len(table))
    ]
