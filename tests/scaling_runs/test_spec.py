"""A cell's identity."""

import dataclasses
import json

import pytest

from models.shapes import Shape
from scaling_runs.recipe import RecipeConfig, resolve
from scaling_runs.spec import CellSpec, spec_from_dict, spec_json


def a_spec() -> CellSpec:
    return CellSpec(
        shape=Shape("llama", 32, 2, 4, 4, 96, 257),
        seq_len=64,
        steps=500,
        recipe=resolve(RecipeConfig(optimizer="muon"), params=35_000, batch=8, seq_len=64, steps=500),
        seed=1,
        corpus="0" * 64,
        val_tokens=1024,
        flop_convention="exact",
        precision="fp32",
    )


def test_a_spec_survives_json() -> None:
    spec = a_spec()
    assert spec_from_dict(json.loads(spec_json(spec))) == spec


def changed(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 3 or 1
    return {"llama": "gpt2", "muon": "adamw", "linear": "cosine", "exact": "6nd", "fp32": "bf16"}.get(
        str(value), "another"
    )


FIELDS = [
    *[("", field.name) for field in dataclasses.fields(CellSpec) if field.name not in ("shape", "recipe")],
    *[("recipe", field.name) for field in dataclasses.fields(a_spec().recipe)],
    *[("shape", name) for name in ("width", "depth", "mlp_width", "vocab_size", "tied")],
]


@pytest.mark.parametrize(("part", "name"), FIELDS)
def test_whatever_changes_the_result_changes_the_folder(part: str, name: str) -> None:
    spec = a_spec()
    owner = getattr(spec, part) if part else spec
    other = dataclasses.replace(owner, **{name: changed(getattr(owner, name))})
    whole = dataclasses.replace(spec, **{part: other}) if part else other
    assert whole.cell_id != spec.cell_id


def test_cells_that_were_trained_before_are_found_again() -> None:
    """Truth: the id on users' disks. If this fails, their results are lost: raise SPEC_VERSION on purpose or undo."""
    assert a_spec().cell_id == "7ffab839466c"
