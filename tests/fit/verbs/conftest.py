"""A verb as a user runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fit.cli import main


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    error: str


Run = Callable[..., Said]


@pytest.fixture
def fit(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Said:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
