"""The plan of isoflop_llama3 in docs/cluster.md is the one that is printed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.configs import ROOT
from tests.docs.commands import blocks
from tests.launching import OFFLINE, launch

PLAN = ["sweep=isoflop_llama3", "dry_run=true", "hardware=h100"]


def planned(folder: Path, *options: str) -> set[str]:
    """Lines of the dry run, less the column of ids, with one space between words."""
    ran = launch(*PLAN, *options, cwd=folder, **OFFLINE)
    assert ran.code == 0, ran.err
    return {" ".join(re.sub(r"  (?:cell|[0-9a-f]{12})$", "", line).split()) for line in ran.out.splitlines()}


def test_each_line_of_the_plan_in_the_docs_is_printed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    (shown,) = (
        lines for _, lines in blocks(page) if any(line.startswith("78,463 GPU-hours") for line in lines)
    )
    lines = {" ".join(line.split()) for line in shown} - {"", "..."}
    assert len(lines) > 15
    assert lines <= planned(tmp_path, "gpus=512")


def test_what_fits_nowhere_is_told_as_in_the_docs(tmp_path: Path) -> None:
    page = " ".join((ROOT / "docs" / "cluster.md").read_text().split())
    told = [line for line in planned(tmp_path, "gpus=4") if line.startswith("memory at 1e+22 FLOPs: w5376")]
    assert len(told) == 1
    assert told[0] in page
