"""Real text and small cells for tests that train."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from models.factory import build_model
from models.shapes import Shape
from scaling_runs.cell import Cell
from scaling_runs.data import Corpus, DataConfig
from scaling_runs.data.prepare import prepare
from scaling_runs.plan import Plan
from scaling_runs.recipe import RecipeConfig, resolve
from scaling_runs.spec import CellSpec
from scaling_runs.store import Store
from tests.configs import plan_of


@dataclass(frozen=True)
class RealText:
    """Sources of the standard library as .jsonl, prepared."""

    path: Path
    cache: Path
    corpus: Corpus

    @property
    def options(self) -> list[str]:
        """For the command line."""
        return [
            "data=text_files",
            f"data.paths=[{self.path}]",
            f"data.cache_dir={self.cache}",
            "data.val_fraction=0.1",
        ]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As a cell trains: models this small lose time by more, and sums in another order differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> RealText:
    folder = tmp_path_factory.mktemp("text")
    library = Path(os.__file__).parent
    sources = [
        path
        for name in ("email", "json", "asyncio", "http")
        for path in sorted((library / name).glob("*.py"))
    ]
    path = folder / "sources.jsonl"
    path.write_text("".join(json.dumps({"text": source.read_text()}) + "\n" for source in sources))
    cache = folder / "cache"
    config = DataConfig(kind="text_files", paths=[str(path)], cache_dir=str(cache), val_fraction=0.1)
    return RealText(path, cache, prepare(config))


@pytest.fixture
def spec(text: RealText) -> CellSpec:
    """A cell of a second or two."""
    return spec_for(text.corpus)


def spec_for(corpus: Corpus, **changes: object) -> CellSpec:
    recipe = resolve(RecipeConfig(optimizer="muon", lr=6e-3), params=5_000, batch=4, seq_len=32, steps=120)
    spec = CellSpec(
        shape=Shape("llama", 16, 2, 2, 2, 48, 257),
        seq_len=32,
        steps=120,
        recipe=recipe,
        seed=0,
        corpus=corpus.fingerprint,
        val_tokens=4096,
        flop_convention="exact",
        precision="fp32",
    )
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


def untrained(spec: CellSpec, **changes: object) -> PreTrainedModel:
    """The model of `spec` before its first step."""
    settings = {"seq_len": spec.seq_len, "seed": 0, "init_std": spec.recipe.init_std} | changes
    return build_model(spec.shape, **settings)  # type: ignore[arg-type]


SWEEP = ["sweep=isoflop_tiny", "tracking=off"]


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Of `SWEEP`, on no text in particular."""
    return plan_of(*SWEEP)


@pytest.fixture
def store(tmp_path: Path, plan: Plan) -> Store:
    """The folders of `plan`, nothing trained."""
    return filled(tmp_path, plan.cells)


def filled(root: Path, cells: Sequence[Cell]) -> Store:
    store = Store(root)
    for cell in cells:
        store.add(cell.spec)
    return store
