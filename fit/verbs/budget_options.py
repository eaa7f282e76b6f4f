"""The options that say a budget, which budget, advise and check share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fit.errors import UserError
from fit.gpus import PRECISIONS
from fit.verbs.arguments import number, place

if TYPE_CHECKING:
    from fit.budget import Budget, Machine

NEEDED = "give --flops, or a cluster: --gpus with --gpu or --tflops, and --days, --hours or --price"


@dataclass(frozen=True)
class Hours:
    """`--hours 720`: of work in all; `--hours 12/day`: of work a day."""

    total: float | None = None
    a_day: float | None = None


def add_budget_options(verb: Any) -> None:
    """Declare them."""
    group = verb.add_argument_group("budget", "FLOPs, or a cluster and how long or for how much money")
    group.add_argument("--flops", type=number, help="the budget itself: 5.4e22")
    group.add_argument("--gpus", type=number, metavar="N", help="how many")
    group.add_argument(
        "--gpu", metavar="NAME", help="h100, a800, rtx4090, tpu-v5p, …; --list-gpus of budget lists them"
    )
    group.add_argument("--gpu-table", type=place, metavar="FILE", help="YAML that overrides or adds GPUs")
    group.add_argument("--tflops", type=number, help="that each GPU reaches, not its peak")
    group.add_argument(
        "--mfu", type=number, help="share of the GPU's peak that it reaches; 0.4 where not given"
    )
    group.add_argument("--precision", choices=PRECISIONS, help="of that peak")
    group.add_argument("--days", type=number, help="of 24 hours, unless --hours says how many of each")
    group.add_argument("--hours", type=hours, metavar="H[/day]", help="in all, or of each day: 12/day")
    group.add_argument("--price", type=number, metavar="USD", help="money to spend on GPU-hours")
    group.add_argument(
        "--hour-price", type=number, metavar="USD", help="of one GPU for an hour, as you pay it"
    )
    group.add_argument(
        "--pue", type=number, help="power of the data centre over that of its machines; 1.56 where not given"
    )


def hours(text: str) -> Hours:
    """720, or 12/day. argparse turns the error into a sentence."""
    value, slash, unit = text.partition("/")
    if not slash:
        return Hours(total=number(text))
    if unit not in ("day", "d"):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of hours; write 720, or 12/day")
    found = number(value)
    if found > 24:
        raise argparse.ArgumentTypeError(f"'{text}' is more than a day has; give 24/day at most")
    return Hours(a_day=found)


def budget_of(options: argparse.Namespace) -> Budget | None:
    """The budget, or None where no option is about one. UserError where they do not fit together."""
    from fit.budget import DEFAULT_PUE, HOURS_A_DAY, Budget

    _require_one_amount(options)
    machine = _machine(options)
    a_day = options.hours.a_day if options.hours else None
    pue = DEFAULT_PUE if options.pue is None else options.pue
    if pue < 1:
        raise UserError(f"--pue is {pue:g}; a data centre draws no less than its machines, so give 1 or more")
    if machine is None and (options.hour_price is not None or options.pue is not None):
        given = "--pue" if options.hour_price is None else "--hour-price"
        raise UserError(
            f"{given} is of a GPU's hours, and no GPU is named; give --gpu h100, say, or --tflops"
        )
    flops = _flops(options, machine)
    if flops is None:
        return None
    return Budget(flops, machine, options.gpus, a_day or HOURS_A_DAY, pue)


def _require_one_amount(options: argparse.Namespace) -> None:
    """At most one of FLOPs, time and money."""
    total = options.hours is not None and options.hours.total is not None
    amounts = {"--flops": options.flops, "--days": options.days, "--price": options.price}
    given = [name for name, value in amounts.items() if value is not None] + (["--hours"] if total else [])
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} each set how much there is to spend; give one of them")


def _machine(options: argparse.Namespace) -> Machine | None:
    from fit.budget import machine
    from fit.gpus import find_gpu, with_own

    if options.gpu_table is not None and options.gpu is None:
        raise UserError("--gpu-table is given without --gpu; name the GPU that it is about")
    gpu = None if options.gpu is None else find_gpu(options.gpu, with_own(options.gpu_table))
    return machine(gpu, options.tflops, options.mfu, options.precision, options.hour_price)


def _flops(options: argparse.Namespace, machine: Machine | None) -> float | None:
    """None where nothing of a budget is said."""
    from fit.budget import HOURS_A_DAY, flops_of_price, flops_of_time

    if options.flops is not None:
        return float(options.flops)
    timed = options.days is not None or options.hours is not None
    if not timed and options.price is None:
        about = ("gpus", "gpu", "tflops")
        if any(getattr(options, name) is not None for name in about):
            raise UserError(
                "a cluster is named but not how much of it there is; give --days, --hours or --price"
            )
        return None
    if machine is None:
        raise UserError(
            "how fast a GPU is has not been said; give --gpu h100, say, or the --tflops that one reaches"
        )
    if options.price is not None:
        return flops_of_price(machine, options.price)
    if options.gpus is None:
        raise UserError("a time is given but not of how many GPUs; give --gpus")
    if options.hours is not None and options.hours.total is not None:
        return flops_of_time(machine, options.gpus, options.hours.total)
    if options.days is None:
        raise UserError(f"--hours {options.hours.a_day:g}/day says nothing without --days; give both")
    a_day = options.hours.a_day if options.hours else HOURS_A_DAY
    return flops_of_time(machine, options.gpus, options.days * a_day)
