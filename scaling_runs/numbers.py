"""Numbers as a reader of a terminal wants them."""

from __future__ import annotations


def number(things: int, noun: str) -> str:
    """1 cell, 2 cells."""
    return f"{things} {noun}{'s' * (things != 1)}"


def count(value: float) -> str:
    """1,234,567 as 1.23M: three digits, of 1 to 999 of a unit."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.0f}"


def dollars(value: float) -> str:
    """1234567 as $1.23M."""
    return f"${value:.2f}" if value < 100 else f"${count(value)}"


def duration(seconds: float) -> str:
    """Seconds as 45s, 3m20s, 2h05m, 3.4d or 2.1y."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    days = seconds / 86400
    return f"{days:.1f}d" if days < 730 else f"{days / 365.25:.1f}y"
