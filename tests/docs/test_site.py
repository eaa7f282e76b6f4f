"""The site: every page is in it, it builds without a warning, and it asks no other host for anything."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.configs import ROOT

DOCS = ROOT / "docs"
CONFIG = ROOT / "mkdocs.yml"


def pages_of(nav: Any) -> Iterator[str]:
    """Files of a navigation, depth first."""
    if isinstance(nav, str):
        yield nav
    for below in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from pages_of(below)


def test_each_page_is_in_the_navigation_once() -> None:
    pages = sorted(pages_of(yaml.safe_load(CONFIG.read_text())["nav"]))
    assert pages == sorted(path.name for path in DOCS.iterdir() if path.suffix in (".md", ".ipynb"))


def test_links_between_pages_lead_somewhere() -> None:
    """On GitHub too, so by the files; of anchors, those of headings without marks."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if target.startswith(("http", "#")):
                continue
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built strictly: a dead link, a name without a docstring's home or a page outside the navigation fails."""
    pytest.importorskip(
        "mkdocs_jupyter", reason="the site is built where `make docs` has installed what it needs"
    )
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(CONFIG), strict=True, site_dir=str(folder))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def test_the_site_asks_no_other_host_for_anything(site: Path) -> None:
    """Links that a reader may follow are not asked for."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?([^\s\">]+)", page.read_text())
        loaded += re.findall(r"<link(?![^>]*rel=\"?canonical)[^>]*\shref=\"?([^\s\">]+)", page.read_text())
        assert loaded
        assert not [one for one in loaded if one.startswith(("http:", "https:", "//"))], page.name


def test_the_search_finds_a_warning_and_the_reference_has_the_docstrings(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    assert any("edge-minimum" in one["location"] for one in index["docs"])
    assert "The runs of a CSV or parquet file" in (site / "api.html").read_text()
