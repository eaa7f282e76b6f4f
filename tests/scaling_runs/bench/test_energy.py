"""Joules, by counters in files as Linux has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_runs.bench.energy import cpu_meter


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, the cores of the first, and the whole board, which has both in it."""
    zones = {
        "0": ("package-0", 5_000_000),
        "1": ("package-1", 9_000_000),
        "0:0": ("core", 1),
        "2": ("psys", 8),
    }
    for zone, (name, microjoules) in zones.items():
        folder = tmp_path / f"intel-rapl:{zone}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text("10000000\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")
    return tmp_path


def test_packages_are_added_up_and_a_counter_that_began_anew_goes_on(powercap: Path) -> None:
    """Truth: 2 J of one package; 3 J of another, whose counter passes its 10 J on the way; its cores are in them."""
    joules_so_far = cpu_meter(powercap).begin()
    (powercap / "intel-rapl:0" / "energy_uj").write_text("7000000\n")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("2000000\n")
    for also_counted in ("0:0", "2"):
        (powercap / f"intel-rapl:{also_counted}" / "energy_uj").write_text("9000000\n")
    assert joules_so_far() == pytest.approx(5)


def test_where_nothing_counts_the_reason_is_told(tmp_path: Path) -> None:
    meter = cpu_meter(tmp_path / "none")
    assert meter.begin()() is None
    assert "has no RAPL counter" in meter.reason


def test_a_counter_that_can_not_be_read_is_told(powercap: Path) -> None:
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    (powercap / "intel-rapl:1" / "energy_uj").mkdir()
    meter = cpu_meter(powercap)
    assert meter.begin()() is None
    assert "can't be read" in meter.reason
