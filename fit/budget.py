"""FLOPs, GPU-hours, days, money and energy, each from the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fit.errors import UserError
from fit.gpus import Gpu
from fit.limits import LARGEST

HOURS_A_DAY = 24.0
DEFAULT_MFU = 0.4
"""Share of its peak that a GPU reaches in training: 38 to 43% for Llama 3 405B (arXiv 2407.21783, table 4)."""
DEFAULT_PUE = 1.56
"""Power of a data centre over that of its machines: the mean of Uptime Institute's survey of 2024."""


@dataclass(frozen=True)
class Machine:
    """One GPU as it trains."""

    flops_per_s: float
    """That it reaches, not its peak."""
    how: str
    """Where that number is from, as a report says it."""
    name: str | None = None
    watts: float | None = None
    hour_price: float | None = None
    """US dollars."""
    price_source: str = ""


@dataclass(frozen=True)
class Budget:
    """What is to be spent. What is not known is None."""

    flops: float
    machine: Machine | None = None
    gpus: float | None = None
    hours_a_day: float = HOURS_A_DAY
    pue: float = DEFAULT_PUE

    @property
    def gpu_hours(self) -> float | None:
        return None if self.machine is None else self.flops / self.machine.flops_per_s / 3600

    @property
    def days(self) -> float | None:
        """On all GPUs together, `hours_a_day` of each day."""
        hours = self.gpu_hours
        return None if hours is None or self.gpus is None else hours / self.gpus / self.hours_a_day

    @property
    def price(self) -> float | None:
        """US dollars."""
        hours, machine = self.gpu_hours, self.machine
        return (
            None
            if hours is None or machine is None or machine.hour_price is None
            else hours * machine.hour_price
        )

    @property
    def kwh(self) -> float | None:
        hours, machine = self.gpu_hours, self.machine
        return (
            None
            if hours is None or machine is None or machine.watts is None
            else (hours * machine.watts / 1000 * self.pue)
        )


def machine(
    gpu: Gpu | None,
    tflops: float | None = None,
    mfu: float | None = None,
    precision: str | None = None,
    hour_price: float | None = None,
) -> Machine | None:
    """The GPU at `tflops`, else at `mfu` of its peak in `precision`; None where neither is given.

    hour_price: US dollars, in place of the table's. UserError where the numbers contradict each other.
    """
    if tflops is not None and mfu is not None:
        raise UserError(
            f"--tflops {tflops:g} is what a GPU reaches and --mfu {mfu:g} a share of its peak; give one of them"
        )
    if mfu is not None and not 0 < mfu <= 1:
        raise UserError(f"--mfu is {mfu:g}; it is a share of the peak, above 0 and at most 1, such as 0.4")
    if gpu is None:
        return _unnamed(tflops, mfu, precision, hour_price)
    rate, how = _rate(gpu, gpu.precision(precision), tflops, mfu)
    price, source = (gpu.hour_price, gpu.price_source) if hour_price is None else (hour_price, "as given")
    return Machine(rate, how, gpu.name, gpu.watts, price, source)


def _unnamed(
    tflops: float | None, mfu: float | None, precision: str | None, hour_price: float | None
) -> Machine | None:
    """A GPU that is known by its speed alone."""
    for option, value in (("--mfu", mfu), ("--precision", precision)):
        if value is not None:
            raise UserError(f"{option} {value} is of a GPU's peak, and no GPU is named; give --gpu h100, say")
    if tflops is None:
        return None
    return Machine(tflops * 1e12, f"{tflops:g} TFLOP/s", hour_price=hour_price, price_source="as given")


def _rate(gpu: Gpu, precision: str, tflops: float | None, mfu: float | None) -> tuple[float, str]:
    """FLOPs a second that it reaches, and where that is from."""
    peak = gpu.peak_flops_per_s(precision)
    of_peak = f"{peak / 1e12:g} TFLOP/s, {gpu.name}'s dense {precision} peak"
    if tflops is None:
        share = DEFAULT_MFU if mfu is None else mfu
        note = ": what large models reach; --mfu has yours" if mfu is None else ""
        return share * peak, f"{share * peak / 1e12:g} TFLOP/s ({share:.0%} of {of_peak}{note})"
    if tflops * 1e12 > peak:
        raise UserError(
            f"--tflops {tflops:g} is above {of_peak}; give what one reaches, or another --precision"
        )
    return tflops * 1e12, f"{tflops:g} TFLOP/s ({tflops * 1e12 / peak:.0%} of {of_peak})"


def flops_of_time(one: Machine, gpus: float, hours: float) -> float:
    """FLOPs of `gpus` for `hours` of work. UserError where the product is no number to compute with."""
    return _held("GPUs x FLOPs a second x time", gpus * one.flops_per_s * hours * 3600)


def flops_of_price(one: Machine, dollars: float) -> float:
    """FLOPs that so much money buys. UserError where no price an hour is known."""
    if one.hour_price is None:
        of = f"'{one.name}'" if one.name else "this GPU"
        raise UserError(
            f"no price an hour is known of {of}, so --price {dollars:g} buys what nobody knows; give --hour-price"
        )
    return _held("--price / price an hour x FLOPs an hour", dollars / one.hour_price * 3600 * one.flops_per_s)


def _held(what: str, flops: float) -> float:
    if not (math.isfinite(flops) and 1 / LARGEST <= flops <= LARGEST):
        raise UserError(
            f"the budget, {what}, is {flops:.3g} FLOPs; a positive number up to {LARGEST:.0e} is expected: "
            f"check the units"
        )
    return flops
