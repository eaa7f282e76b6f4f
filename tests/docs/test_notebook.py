"""The notebook prints again what is kept in it: published numbers from the points that they were read off."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.configs import ROOT
from tests.fit.conftest import POINTS

nbformat = pytest.importorskip(
    "nbformat", reason="the notebook runs where `make docs` has installed what it needs"
)
nbclient = pytest.importorskip("nbclient")
jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")

NOTEBOOK = ROOT / "docs" / "llama3.ipynb"


def printed(notebook: Any) -> list[str]:
    """The text of each code cell's outputs."""
    return [
        "".join(
            str(output.get("text") or output.get("data", {}).get("text/plain", "")) for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_the_notebook_has_the_published_law_and_a_picture() -> None:
    """Truth: arXiv 2407.21783, section 3.2.1."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert "plain least squares   D*(C) = 0.299·C^0.537\n" in "".join(printed(notebook))
    assert any(
        "image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())
    )


def test_the_notebook_prints_the_same_when_it_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    if not POINTS.exists():
        pytest.skip(f"Llama 3's points are not at {POINTS}")
    monkeypatch.setenv("LLAMA3_POINTS", str(POINTS))
    kept = nbformat.read(NOTEBOOK, as_version=4)
    again = copy.deepcopy(kept)
    kernel = jupyter_client.KernelManager(kernel_name="python3", transport="ipc")
    nbclient.NotebookClient(
        again, km=kernel, timeout=300, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    assert printed(again) == printed(kept)
