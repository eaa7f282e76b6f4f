"""Whether a sweep is one of those whose recipe was tuned: as it is shipped, with nothing changed that matters."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

from scaling_runs.config import Config

CONFIGS = Path(__file__).parents[1] / "configs"
TUNED = {"isoflop_small": "wsd", "isoflop_tiny": "cosine"}
"""Sweeps whose recipe docs/recipe.md has the trials of, on their own models and text, and where that recipe is."""
GROUPS = {"model": "llama_tiny", "data": "python_source"}
"""What else those sweeps are composed of."""


def as_tuned(config: Config) -> bool:
    """Whether grid, models, recipe and text are those of a shipped sweep with a tuned recipe."""
    if config.sweep is None or config.sweep.name not in TUNED:
        return False
    shipped = OmegaConf.structured(Config)
    groups = GROUPS | {"recipe": TUNED[config.sweep.name]}
    for group, name in groups.items():
        shipped = OmegaConf.merge(shipped, {group: OmegaConf.load(CONFIGS / group / f"{name}.yaml")})
    of_sweep = OmegaConf.load(CONFIGS / "sweep" / f"{config.sweep.name}.yaml")
    assert OmegaConf.is_dict(of_sweep)
    own = OmegaConf.masked_copy(of_sweep, [*groups, "sweep"])  # type: ignore[arg-type]
    as_shipped = OmegaConf.to_object(OmegaConf.merge(shipped, own))
    assert isinstance(as_shipped, Config)
    same_text = (
        config.data.kind == as_shipped.data.kind and config.data.tokenizer == as_shipped.data.tokenizer
    )
    parts = ("sweep", "model", "recipe")
    return same_text and all(getattr(config, part) == getattr(as_shipped, part) for part in parts)
