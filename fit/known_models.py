"""Language models whose params and tokens are published: `known_models.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("known_models.yaml")


@dataclass(frozen=True)
class KnownModel:
    """One model as published. `params`: of a mixture of experts those that are active for a token."""

    name: str
    params: float
    tokens: float
    """Trained on, repeats included."""
    source: str
    note: str = ""


def known_models() -> tuple[KnownModel, ...]:
    """In the order of the table."""
    import yaml

    rows = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return tuple(
        KnownModel(
            row["name"],
            float(row["params_billion"]) * 1e9,
            float(row["tokens_billion"]) * 1e9,
            row["source"],
            row.get("note", ""),
        )
        for row in rows
    )
