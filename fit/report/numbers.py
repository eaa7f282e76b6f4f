"""Numbers as people read them."""

from __future__ import annotations

from fit.statistics import Interval


def short(value: float | None) -> str:
    """1.23M, 16.3T, 402B; beyond that powers of ten; a dash where there is none."""
    if value is None:
        return "-"
    value = float(f"{value:.3g}")  # rounded first, so that 999,999 is 1M and not 1e+03K
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if size <= value < 1000 * size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def interval(ci95: Interval | None, digits: int = 3) -> str:
    return "no interval" if ci95 is None else f"[{ci95[0]:.{digits}g}, {ci95[1]:.{digits}g}]"


def short_interval(ci95: Interval | None) -> str:
    return "-" if ci95 is None else f"[{short(ci95[0])}, {short(ci95[1])}]"
