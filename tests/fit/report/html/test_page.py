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
from fit.report.numbers import short, short_interval
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


def test_predictions_and_the_loss_law_are_on_the_page(fitted: IsoflopFit) -> None:
    """Truth: the text report's, of two budgets that were asked for; no table of them where none was."""
    asked = fit_isoflop(fitted.table, predict=[1e22, 3.8e25], resamples=0)
    text, said = Page(report(asked)).text, render(asked)
    for prediction in asked.predictions:
        tokens, params = prediction.optima["tokens"], prediction.optima["params"]
        for estimate in (tokens, params):
            assert (
                f"{short(estimate.corrected)} {short_interval(estimate.ci95)} {short(estimate.value)}" in text
            )
    law = said.split("Loss law, the lowest loss of a budget\n")[1].split("\n\n")[0]
    for line in law.splitlines():
        assert " ".join(line.split()) in text
    assert "Predictions of the optimum" not in Page(report(fitted)).text


def test_the_command_names_the_experiments_ladder_and_that_the_fit_has_to_be_there(
    fitted: IsoflopFit,
) -> None:
    """Truth: what the panel is given."""
    panel = Page(report(fitted, fit_json="a/fit.json", build=["--model", "llama_tiny"])).data["panel"]
    assert (panel["laws"][0]["option"], panel["build"], panel["written"]) == (
        "a/fit.json",
        ["--model", "llama_tiny"],
        True,
    )
    panel = Page(report(fitted)).data["panel"]
    assert (panel["laws"][0]["option"], panel["written"]) == ("fit.json", False)


def test_a_page_that_is_sent_does_not_say_whose_folder_its_table_is_from(fitted: IsoflopFit) -> None:
    """Truth: the path of the table, which is nowhere in the page."""
    here = replace(fitted, table=replace(fitted.table, source="/home/someone/secret/runs.csv"))
    assert "/home/someone" not in report(here)
    assert Page(report(here)).data["panel"]["laws"][0]["source"] == "runs.csv"


def test_curves_of_rows_that_were_left_out_are_left_out_too(fit: Run, tmp_path: Path) -> None:
    """Truth: the curves of the page, of one of two experiments in a table."""
    runs = rows_of(parabolas(noise=0.001))
    rows = [row | {"experiment": "ours"} for row in runs]
    rows += [row | {"experiment": "theirs", "run_id": f"other {row['run_id']}"} for row in runs]
    table = write_csv(tmp_path / "runs.csv", rows)
    steps = [
        {
            "run_id": row["run_id"],
            "params": row["params"],
            "flops": share * float(row["flops"]),
            "loss": float(row["loss"]) + 1 - share,
        }
        for row in rows
        for share in (0.5, 0.75, 1.0)
    ]
    curves = write_csv(tmp_path / "curves.csv", steps)
    page = tmp_path / "r.html"
    said = fit("isoflop", table, "--where", "experiment=ours", "--curves", curves, "--html", page)
    assert said.code == 0, said.error
    drawn = Page(page.read_text()).data["charts"]["curves"]["data"]
    assert len(drawn) == len(runs)


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
