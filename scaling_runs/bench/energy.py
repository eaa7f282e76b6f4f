"""Joules that this machine counts: RAPL's of its processor packages, or NVML's of its GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
"""Linux's; readable by root alone on many machines (docs.kernel.org/power/powercap)."""


class EnergyMeter:
    """Counters, all of them together. `reason` says why there are none."""

    def __init__(self, counters: Sequence[Callable[[], float]], reason: str = "") -> None:
        self.counters, self.reason = counters, reason

    def begin(self) -> Callable[[], float | None]:
        """A function that says how many joules went since; None where nothing counts."""
        if not self.counters:
            return lambda: None
        before = [counter() for counter in self.counters]
        return lambda: sum(counter() - was for counter, was in zip(self.counters, before, strict=True))


class Package:
    """One processor package's counter of RAPL, which begins anew at its range: read within that, a few minutes."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "energy_uj"
        self.range_uj = int((folder / "max_energy_range_uj").read_text())
        self.last_uj, self.passed_uj = int(self.file.read_text()), 0

    def __call__(self) -> float:
        """Joules since an arbitrary time."""
        now_uj = int(self.file.read_text())
        if now_uj < self.last_uj:
            self.passed_uj += self.range_uj
        self.last_uj = now_uj
        return (self.passed_uj + now_uj) / 1e6


def cpu_meter(powercap: Path = POWERCAP) -> EnergyMeter:
    """Of the packages; cores and memory are zones below them and counted with them, and `psys` is the whole board."""
    zones = sorted(powercap.glob("intel-rapl:*")) if powercap.is_dir() else []
    try:
        packages = [Package(zone) for zone in zones if (zone / "name").read_text().startswith("package")]
    except OSError as error:
        return EnergyMeter([], f"RAPL's counter can't be read ({error}); run as root, or let it be read")
    if not packages:
        return EnergyMeter([], f"{powercap} has no RAPL counter, as on most virtual machines")
    return EnergyMeter(packages)


def gpu_meter(uuids: list[str]) -> EnergyMeter:
    """Of the GPUs of these UUIDs, as NVML has counted since the driver was loaded (Volta and later)."""
    try:
        import pynvml  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return EnergyMeter([], "NVML needs a package that is not installed; pip install nvidia-ml-py")
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
        counters = [_millijoules(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle) for handle in handles]
        for counter in counters:
            counter()
    except pynvml.NVMLError as error:
        return EnergyMeter([], f"NVML does not count here ({error})")
    return EnergyMeter(counters)


def _millijoules(read: Callable[[object], int], handle: object) -> Callable[[], float]:
    return lambda: read(handle) / 1e3
