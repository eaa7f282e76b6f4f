"""The HTML report as a file: its ways in, its parts, and that no text of a table becomes markup. tests/browser opens it
in a browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fit.curves import Curve
from fit.isoflop import IsoflopFit, fit_isoflop
from fit.report.html.page import Extra, embedded, report
from fit.report.summary import render
from tests.fit.conftest import Run
from tests.simulated import Surface, parabolas, rows_of, write_csv

HOSTILE = "</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Its tags, its text and what each script holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[-1])

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def fitted() -> IsoflopFit:
    runs = Surface().runs(span=6, noise=0.002)
    names = np.array([HOSTILE, *(f"run {i}" for i in range(1, len(runs)))])
    return fit_isoflop(replace(runs, run_id=names, source=HOSTILE), resamples=20)


def test_it_is_one_file_that_asks_for_nothing(fitted: IsoflopFit) -> None:
    """Truth: no tag names a place elsewhere."""
    page = Page(report(fitted))
    places = [
        value for _, given in page.tags for name, value in given.items() if name in ("src", "href") and value
    ]
    assert all(place.startswith(("#", "data:")) for place in places), places
    assert [tag for tag, _ in page.tags].count("script") == 5


def test_names_are_text_wherever_they_stand(fitted: IsoflopFit) -> None:
    """Truth: the tags of the page, whose table tries to add one."""
    page = Page(report(fitted, extras=[Extra(HOSTILE, HOSTILE)], name=HOSTILE))
    assert "img" not in [tag for tag, _ in page.tags]
    assert page.text.count(HOSTILE) >= 4
    hover = page.data["charts"]["valleys-tokens"]["data"][0]["text"][0]
    assert hover.startswith("<b>&lt;/script&gt;&lt;img ")
    assert json.loads(embedded({"a": HOSTILE})) == {"a": HOSTILE}


def test_its_numbers_and_sentences_are_those_of_the_text_report(fitted: IsoflopFit) -> None:
    """Truth: the text report: each optimum, each law, each sentence of its verdict, back-test and warnings."""
    text, said = Page(report(fitted)).text, render(fitted)
    verdict = re.findall(r"^  [+-] (.*)$", said, re.M)
    backtests = re.findall(r"^(Back-test: .*)$", said, re.M)
    assert len(verdict) > 3
    assert backtests
    for sentence in (*verdict, *backtests, *(warning.text for warning in fitted.warnings)):
        assert " ".join(sentence.split()) in text
    law = fitted.laws["tokens"]
    assert law is not None
    assert f"D*(C) = {law.corrected_coefficient:.3g}·C^{law.corrected_exponent:.3f} (95% of α [" in text


def test_each_run_is_in_each_valley_and_no_curve_is_drawn_without_curves(fitted: IsoflopFit) -> None:
    """Truth: the run table; curves where they are given."""
    charts = Page(report(fitted)).data["charts"]
    assert set(charts) == {"valleys-tokens", "valleys-params", "law-tokens", "law-params"}
    points = [one for one in charts["valleys-params"]["data"] if one["mode"] == "markers"]
    runs = [x for trace in points if trace.get("showlegend", True) for x in trace["x"]]
    assert sorted(runs) == sorted(fitted.table.params.tolist())
    text = Page(report(fitted)).text
    for run_id, budget in zip(fitted.table.run_id, fitted.table.budget, strict=True):
        assert f"{run_id} {budget:.3g} " in text
    along = np.array([1e17, 1e18])
    curve = Curve("run 1", 1e7, along, along / 6e7, np.array([4.0, 3.0]))
    (drawn,) = Page(report(fitted, [curve])).data["charts"]["curves"]["data"]
    assert (drawn["x"], drawn["y"], drawn["meta"]) == ([1e17, 1e18], [4.0, 3.0], {"budget": 0})


def test_any_table_makes_one_from_the_command_line(fit: Run, tmp_path: Path) -> None:
    """Truth: the file, and the panel's command, which names the fit's JSON."""
    runs = write_csv(tmp_path / "runs.csv", rows_of(parabolas(noise=0.001)))
    said = fit("isoflop", runs, "--html", tmp_path / "r.html", "--json", tmp_path / "fit.json")
    assert said.code == 0, said.error
    page = Page((tmp_path / "r.html").read_text())
    assert page.data["panel"]["laws"][0]["option"] == str(tmp_path / "fit.json")
    assert page.text.startswith(f"isoFLOP report: {runs.name} ")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("missing/r.html", "folder '.*missing' of --html .* does not exist"),
        ("runs.csv", "--html .*runs.csv' is the run table itself, which it would overwrite"),
        (".", "--html .* is a folder; name a file in it"),
    ],
)
def test_where_it_cannot_be_written_one_sentence_says_so(
    fit: Run, tmp_path: Path, place: str, why: str
) -> None:
    """Truth: exit code 2, and a table that is as it was."""
    runs = write_csv(tmp_path / "runs.csv", rows_of(parabolas()))
    before = runs.read_bytes()
    said = fit("isoflop", runs, "--html", tmp_path / place)
    assert said.code == 2
    assert re.match(f"error: {why}", said.error), said.error
    assert runs.read_bytes() == before
