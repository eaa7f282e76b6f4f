"""What the end-to-end tests share: one uninterrupted sweep a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.launching import Sweep, reference


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="session")
def sweep(base: Path) -> Sweep:
    return reference(base)
