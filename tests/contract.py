"""Contract 2: a fit's JSON, held to its schema."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from jsonschema import Draft202012Validator

SCHEMA: dict[str, Any] = json.loads((resources.files("fit") / "fit.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def read_json(path: Path) -> Any:
    """JSON as its standard has it: without NaN and Infinity."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def assert_in_contract(content: Any) -> None:
    """Every key that the schema asks for, no other, each of its kind."""
    errors = [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(content)]
    if errors:
        raise AssertionError("; ".join(errors))
