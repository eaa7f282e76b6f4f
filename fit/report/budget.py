"""Budgets and GPUs as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from fit.budget import HOURS_A_DAY, Budget
from fit.gpus import PRECISIONS, Gpu
from fit.text import number


def render_budget(budget: Budget) -> str:
    """FLOPs, GPU-hours, days, money and energy; what is not known, and what would say it."""
    return "\n".join([_headline(budget), *cost_lines(budget)])


def cost_lines(budget: Budget) -> list[str]:
    """Of a budget with a machine: its GPU-hours, days, money and energy, a line each."""
    assert budget.gpu_hours is not None
    return [
        f"  GPU-hours  {budget.gpu_hours:,.0f}{_days(budget)}",
        f"  money      {_money(budget)}",
        f"  energy     {_energy(budget)}",
    ]


def _headline(budget: Budget) -> str:
    machine = budget.machine
    assert machine is not None
    assert budget.gpu_hours is not None
    if budget.gpus is None:
        return f"{budget.flops:.3g} FLOPs: {number(budget.gpu_hours, 'GPU-hour', ',.0f')} at {machine.how}"
    hours = budget.gpu_hours / budget.gpus
    return (
        f"{budget.flops:.3g} FLOPs: {number(budget.gpus, 'GPU')} at {machine.how} each for "
        f"{number(hours, 'hour', ',.4g')}"
    )


def _days(budget: Budget) -> str:
    if budget.days is None or budget.gpus is None:
        return "; days with --gpus"
    rate = "" if budget.hours_a_day == HOURS_A_DAY else f" of {number(budget.hours_a_day, 'hour')}"
    return f", {number(budget.days, 'day', ',.3g')}{rate} on {budget.gpus:g}"


def _money(budget: Budget) -> str:
    machine = budget.machine
    assert machine is not None
    if budget.price is None:
        why = (
            f"no price of an {machine.name}'s hour was found"
            if machine.name
            else "no price of a GPU-hour is given"
        )
        return f"not known: {why}; give --hour-price"
    return f"${budget.price:,.0f} at ${machine.hour_price:.2f} a GPU-hour ({machine.price_source})"


def _energy(budget: Budget) -> str:
    machine = budget.machine
    assert machine is not None
    if budget.kwh is None:
        return "not known: " + (
            f"no power of a {machine.name} is published"
            if machine.name
            else "which GPU is not said; give --gpu"
        )
    return f"{budget.kwh:,.0f} kWh: {machine.watts:g} W a GPU, without its host, x PUE {budget.pue:g}"


def render_gpus(gpus: Mapping[str, Gpu]) -> str:
    """A line a GPU: dense peaks, memory, power, price, then where the numbers are from."""
    header = (
        f"{'name':<10} "
        + " ".join(f"{one:>7}" for one in PRECISIONS)
        + f" {'GB':>5} {'W':>5} {'$/h':>6}  GPU"
    )
    lines = ["Dense peaks in TFLOP/s, without sparsity; prices on demand", header]
    for gpu in gpus.values():
        peaks = " ".join(f"{_or_dash(gpu.tflops.get(one)):>7}" for one in PRECISIONS)
        price = "-" if gpu.hour_price is None else f"{gpu.hour_price:.2f}"
        numbers = f"{_or_dash(gpu.memory_gb):>5} {_or_dash(gpu.watts):>5} {price:>6}"
        lines.append(f"{gpu.name:<10} {peaks} {numbers}  {gpu.title}".rstrip())
    lines += ["", "Sources"]
    for gpu in gpus.values():
        price = "no price found" if gpu.hour_price is None else f"price: {gpu.price_source}"
        lines.append(f"{gpu.name:<10} {gpu.source}; {price}")
    return "\n".join(lines)


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
