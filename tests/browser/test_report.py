"""The HTML report in a real browser: it opens, stays off the network, can be read and used by anyone, and computes what
`python -m fit advise` says."""

from __future__ import annotations

import math
import random
import shlex
from pathlib import Path
from typing import Any

import pytest

from fit.advise import advise
from fit.constraints import Constraints, best_choice, most_params
from fit.isoflop import IsoflopFit
from fit.laws import load_law
from fit.report.advice import cautions
from fit.report.numbers import short
from tests.browser.conftest import HOSTILE, Open, Opened
from tests.fit.conftest import Run

BUDGETS = (3e17, 6.4e19, 5.44e22, 3.8e25)
LAWS = ("own", "llama3", "hoffmann", "epoch")
CONSTRAINTS: dict[str, dict[str, str]] = {
    "free": {},
    "scarce data": {"uniqueTokens": "100B"},
    "fixed params": {"params": "7e9"},
    "little memory": {"memory": "80"},
    "served": {"inferenceTokens": "2T"},
    "all": {"uniqueTokens": "300B", "params": "1.5B", "memory": "640", "inferenceTokens": "0.2T"},
}
FIELDS = ("uniqueTokens", "params", "memory", "inferenceTokens")
UNITS = {"B": 1e9, "T": 1e12}


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_a_complaint_or_a_request_and_fits_the_window(
    open_page: Open, report_file: Path, width: int, height: int, scheme: str
) -> None:
    """Truth: the browser's console, its requests, and the width of what it has laid out."""
    opened = open_page(report_file, width, height, scheme)
    assert opened.troubles == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_run_and_every_minimum_is_drawn_and_says_which_it_is(
    open_page: Open, report_file: Path, fitted: IsoflopFit
) -> None:
    """Truth: the run table and the fit; names are text, whatever they hold."""
    page = open_page(report_file).page
    minima = sum(budget.tokens.optimum is not None for budget in fitted.budgets)
    assert page.locator("#chart-valleys-tokens .points path.point").count() == len(fitted.table) + minima
    page.locator("#chart-valleys-tokens").scroll_into_view_if_needed()
    page.locator("#chart-valleys-tokens .points path.point").first.hover(force=True)
    text = page.locator("#chart-valleys-tokens .hovertext").first
    text.wait_for()
    assert HOSTILE in (text.text_content() or "")
    assert page.locator("img").count() == 0
    assert page.locator("h1").text_content() == f"isoFLOP report: {HOSTILE}"


def chosen(opened: Opened, law: str, flops: float, constraints: dict[str, str]) -> dict[str, Any]:
    """What the panel has computed."""
    page = opened.page
    names = page.evaluate(
        "JSON.parse(document.getElementById('data').textContent).panel.laws.map(l => l.option)"
    )
    page.select_option("#law", index=0 if law == "own" else names.index(law))
    page.fill("#flops", repr(flops))
    for name in FIELDS:
        page.fill(f"#{name}", constraints.get(name, ""))
    found: dict[str, Any] = page.evaluate(
        "(() => { const {law, advice, choice} = isoflopDecision; return {law, advice: {...advice, tradeoff: "
        "{params: advice.tradeoff.params, within: advice.tradeoff.lossKnown && advice.tradeoff.sizesWithin(0.01), "
        "wasting: advice.tradeoff.sizesWasting(0.05)}}, choice}; })()"
    )
    return found


def number(text: str | None) -> float | None:
    if text is None:
        return None
    unit = UNITS.get(text[-1])
    return float(text) if unit is None else unit * float(text[:-1])


@pytest.mark.parametrize("law_name", LAWS)
def test_the_panel_computes_what_advise_does(open_page: Open, report_file: Path, law_name: str) -> None:
    """Truth: fit.advise and fit.constraints, over budgets and constraints; a fixed size that the budget can't serve
    is told."""
    law = load_law(str(report_file.parent / "fit.json") if law_name == "own" else law_name)
    opened = open_page(report_file)
    close = lambda a, b: b == pytest.approx(a, rel=1e-6)  # noqa: E731
    for flops in BUDGETS:
        wanted = advise(law, flops)
        for name, fields in CONSTRAINTS.items():
            if name == "all" and flops < 1e22:
                continue
            found = chosen(opened, law_name, flops, fields)
            got, here = found["advice"], f"{law_name}, {flops:g}, {name}"
            assert close(wanted.tokens, got["tokens"]), here
            assert close(wanted.params, got["params"]), here
            for ours, theirs in ((wanted.tokens_ci95, "tokensCi95"), (wanted.params_ci95, "paramsCi95")):
                assert got[theirs] is None if ours is None else close(ours, tuple(got[theirs])), here
            assert got["loss"] is None if wanted.loss is None else close(wanted.loss.value, got["loss"]), here
            assert got["cautions"] == cautions(wanted), here
            beyond = got["decadesBeyond"]
            assert (
                math.isnan(wanted.decades_beyond) if beyond is None else close(wanted.decades_beyond, beyond)
            )
            tradeoff = wanted.tradeoff
            assert close(tradeoff.sizes_wasting(0.05), tuple(got["tradeoff"]["wasting"])), here
            if (within := tradeoff.sizes_within(0.01)) is not None:
                assert close(within, tuple(got["tradeoff"]["within"])), here
            constraints = Constraints(
                unique_tokens=number(fields.get("uniqueTokens")),
                params=number(fields.get("params")),
                most_params=most_params(memory) if (memory := number(fields.get("memory"))) else None,
                inference_tokens=number(fields.get("inferenceTokens")) or 0.0,
            )
            best, choice = best_choice(tradeoff, constraints), found["choice"]
            assert choice["params"] == pytest.approx(best.params, rel=1e-6), here
            assert choice["tokens"] == pytest.approx(best.tokens, rel=1e-6), here
            assert close(best.loss, choice["loss"]), here
            assert choice["wasted"] == pytest.approx(best.wasted, abs=1e-6), here
            assert close(best.epochs, choice["epochs"]), here
    assert opened.troubles == []


@pytest.mark.parametrize("law_name", ["own", "llama3"])
@pytest.mark.parametrize("name", ["free", "scarce data", "fixed params", "little memory", "served"])
def test_the_command_that_the_panel_shows_prints_the_panels_numbers(
    open_page: Open, report_file: Path, fit: Run, law_name: str, name: str
) -> None:
    """Truth: what the command prints."""
    opened = open_page(report_file)
    chosen(opened, law_name, 5.44e22, CONSTRAINTS[name])
    shown = lambda output: opened.page.locator(f"[data-output={output}]").text_content()  # noqa: E731
    command = shlex.split(shown("command"))
    assert command[:3] == ["python", "-m", "fit"]
    said = fit(*command[3:])
    assert said.code == 0, said.error
    assert f"  tokens  {shown('tokens')}   D* = " in said.out
    assert f"  params  {shown('params')}   by " in said.out
    assert f"\n  {shown('ratio')} tokens a parameter" in said.out
    half, wasted = str(shown("half")).split(" wastes ")
    assert f"  half the size  {half}" in said.out
    assert f": wastes {wasted} of the compute" in said.out
    if law_name == "own":
        assert f"  loss    {str(shown('loss')).removesuffix(' nats a token')}" in said.out
    if name != "free":
        assert f"    {shown('choice')}" in said.out
    if name in ("scarce data", "fixed params", "little memory"):
        assert f": wastes {shown('regret')}" in said.out


def test_a_loss_with_constraints_stands_beside_the_same_laws_loss_without(
    open_page: Open, report_file: Path
) -> None:
    """Truth: no constraint lowers the loss of one and the same surface; the loss law above says another number."""
    opened = open_page(report_file)
    shown = lambda output: opened.page.locator(f"[data-output={output}]").text_content()  # noqa: E731
    for name, fields in CONSTRAINTS.items():
        if name == "free":
            continue
        chosen(opened, "own", 5.44e22, fields)
        constrained, free = (float(str(shown(one)).split()[0]) for one in ("choice-loss", "free-loss"))
        assert constrained >= free, name
        assert "by the surface of all runs, as the one above" in str(shown("free-loss"))


def test_every_axis_has_numbers(open_page: Open, report_file: Path) -> None:
    """Truth: what the browser has drawn of each chart's two axes."""
    page = open_page(report_file).page
    for chart in ("valleys-tokens", "valleys-params", "law-tokens", "law-params", "curves", "balance"):
        for axis in "xy":
            labels = page.locator(f"#chart-{chart} .{axis}tick text").all_text_contents()
            assert len([one for one in labels if one.strip()]) >= 2, (chart, axis, labels)


def test_numbers_are_written_as_the_text_report_writes_them(open_page: Open, report_file: Path) -> None:
    """Truth: Python's own, over twenty-four decades and at the edges of its units."""
    draw = random.Random(0)
    values = [10 ** draw.uniform(-6, 18) for _ in range(2000)]
    values += [999.4, 999.5, 999_499.0, 999_500.0, 1e15, 123.0, 0.0001, 0.00001, 1e3, 99.95, 1000 * 1e12]
    page = open_page(report_file).page
    assert page.evaluate("values => values.map(short)", values) == [short(value) for value in values]


def test_what_is_no_number_is_told_and_nothing_of_before_is_shown_beside_it(
    open_page: Open, report_file: Path
) -> None:
    """Truth: the fields' own state, and what the browser shows of the answers, the command among them."""
    opened = open_page(report_file)
    page = opened.page
    answers = [page.locator(f"[data-output={name}]") for name in ("tokens", "half", "command")]
    assert all(one.is_visible() for one in answers)
    for field, text in (
        ("flops", "banana"),
        ("flops", ""),
        ("flops", "-1e20"),
        ("flops", "5,4e22"),
        ("params", "0"),
        ("params", "7 B's"),
    ):
        page.fill(f"#{field}", text)
        assert page.locator(f"#{field}").get_attribute("aria-invalid") == "true", text
        assert "A field holds no positive number" in (
            page.locator("[data-output=message]").text_content() or ""
        )
        assert not any(one.is_visible() for one in [*answers, page.get_by_role("button", name="copy")])
        page.get_by_role("button", name="back to the start").click()
        assert all(one.is_visible() for one in answers)
    page.fill("#flops", "x")
    page.fill("#memory", "y")
    assert [page.locator(f"#{one}").get_attribute("aria-invalid") for one in ("flops", "memory")] == [
        "true"
    ] * 2
    page.get_by_role("button", name="back to the start").click()
    page.fill("#flops", "1e18")
    page.fill("#params", "1e12")
    page.fill("#inferenceTokens", "1T")
    assert "nothing is left to train" in (page.locator("[data-output=message]").text_content() or "")
    page.fill("#memory", "16")
    assert (page.locator("[data-output=message]").text_content() or "") == (
        "So many params do not fit: the memory holds 1B."
    )
    assert page.locator("[data-output=command]").text_content() == "", "which would be refused"
    assert opened.troubles == []


def test_all_of_the_panel_is_reached_and_moved_by_the_keyboard(open_page: Open, report_file: Path) -> None:
    """Truth: where the focus goes, and what an arrow does to the budget."""
    page = open_page(report_file).page
    page.focus("#law")
    reached = []
    for _ in range(25):
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.textContent"))
        if reached[-1] == "slider":
            before = page.input_value("#flops")
            page.keyboard.press("ArrowRight")
            assert float(page.input_value("#flops")) > float(before)
        page.keyboard.press("Tab")
    assert reached[:8] == ["law", "flops", "slider", *FIELDS, "restart"]
    assert "copy" in reached


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("dark", 390)])
def test_nothing_bars_a_reader_with_a_handicap(
    open_page: Open, report_file: Path, scheme: str, width: int
) -> None:
    """Truth: axe-core's rules, contrast among them."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    results = axe.Axe().run(open_page(report_file, width, scheme=scheme).page)
    assert results.violations_count == 0, results.generate_report()


def test_it_prints_in_light_colours_and_whole(open_page: Open, report_file: Path) -> None:
    """Truth: a PDF of several pages from a dark window, which is dark again after."""
    page = open_page(report_file, scheme="dark").page
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.evaluate(
        "addEventListener('beforeprint', () => { window.printed = getComputedStyle(document.body).backgroundColor; })"
    )
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") > 2
    assert page.evaluate("window.printed") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
