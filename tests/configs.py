"""Configs composed as `launch.py` composes them, for tests."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir

from models.shapes import Shape
from scaling_runs.config import Config, register, typed
from scaling_runs.plan import CorpusSize, Plan, plan_sweep

ROOT = Path(__file__).parents[1]
SWEEPS = sorted(path.stem for path in (ROOT / "configs" / "sweep").glob("*.yaml"))
LOCAL_CORPUS = CorpusSize("0" * 64, 257, 285_000_000)


def config_of(*overrides: str) -> Config:
    """The typed config of these overrides."""
    register()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return typed(compose("config", overrides=list(overrides)))


def plan_of(*overrides: str) -> Plan:
    """The plan of a sweep, on the corpus that its config declares or on one like python_source."""
    config = config_of(*overrides)
    declared = config.data.vocab_size
    corpus = LOCAL_CORPUS
    if declared is not None and config.data.train_tokens is not None:
        corpus = CorpusSize("declared", declared, config.data.train_tokens)
    return plan_sweep(config, corpus, "fp32")


def planned_shapes(sweep: str, family: str) -> list[tuple[Shape, int]]:
    """Every (shape, sequence length) that a sweep plans with models of `family`."""
    overrides = [f"sweep={sweep}", f"model.family={family}"]
    if family == "gpt2":
        overrides.append("model.kv_heads=null")
    plan = plan_of(*overrides)
    return sorted(
        {(cell.spec.shape, cell.spec.seq_len) for cell in plan.cells}, key=lambda item: item[0].width
    )
