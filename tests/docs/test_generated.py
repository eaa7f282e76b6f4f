"""The pages that are made of what the code declares are current, and leave no code out."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from fit.cli import VERBS, main
from fit.diagnostics import codes as of_fits
from fit.report.verdict import CARRIES, SHAKES
from scaling_runs import problems
from scaling_runs.usage import _keys
from tests.configs import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate.py"))


@pytest.mark.parametrize("page", ["options.md", "warnings.md"])
def test_a_generated_page_is_current(made: dict[str, Any], page: str) -> None:
    """Else `python docs/generate.py` makes it so."""
    assert (DOCS / page).read_text() == made["pages"]()[page]


def given_codes(path: Path, makers: set[str]) -> set[str]:
    """First arguments of the calls of `makers` in a file: a string, or a name and all strings that it ever is."""
    tree = ast.parse(path.read_text())
    strings: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    strings.setdefault(target.id, set()).add(str(node.value.value))
    found: set[str] = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers):
            continue
        code = node.args[0]
        if isinstance(code, ast.Constant):
            found.add(str(code.value))
        elif isinstance(code, ast.Name) and code.id in strings:
            found |= strings[code.id]
        else:  # `warn` itself, which hands on what it is given
            assert (path.name, ast.unparse(code)) == ("valleys.py", "code")
    return found


def test_every_code_that_a_fit_can_give_is_explained_and_no_other() -> None:
    """Truth: the calls that make findings, wherever in fit/ they are."""
    found: set[str] = set()
    for path in (ROOT / "fit").rglob("*.py"):
        found |= given_codes(path, {"Warning_", "warn"})
    assert len(found) > 20
    assert found == set(of_fits.CODES)


def test_the_verdict_weighs_codes_that_there_are() -> None:
    assert {*CARRIES, *SHAKES} <= set(of_fits.CODES)


def test_every_code_that_a_plan_can_give_is_explained_and_no_other() -> None:
    found: set[str] = set()
    for path in (ROOT / "scaling_runs").rglob("*.py"):
        found |= given_codes(path, {"Problem"})
    assert found == set(problems.CODES)


def test_the_page_lists_each_code_once_under_what_gives_it() -> None:
    fit, plan = (DOCS / "warnings.md").read_text().split("## Of a plan")
    for page, codes in ((fit, of_fits.CODES), (plan, problems.CODES)):
        assert re.findall(r"^#### `(.*)`$", page, re.MULTILINE) == list(codes)


def test_the_page_of_options_has_each_option_of_the_command_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Truth: `python -m fit VERB --help`, and the names that a mistyped option is offered."""
    page = (DOCS / "options.md").read_text()
    for group in ("sweep", "model", "data", "recipe", "tracking"):
        for key in _keys(group):
            assert f"| `{group}.{key}` |" in page
    for module in VERBS:
        verb = module.__name__.rpartition(".")[2].replace("_", "-")
        section = page.split(f"### `python -m fit {verb}`")[1].split("\n### ")[0]
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        flags = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
        assert flags == set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE))
