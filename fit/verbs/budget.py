"""`python -m fit budget`: the FLOPs of a cluster for a time."""

from __future__ import annotations

import argparse
from typing import Any

from fit.verbs.arguments import number


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("budget", help="FLOPs of a cluster for a time")
    verb.add_argument("--gpus", type=number, required=True)
    verb.add_argument("--tflops", type=number, required=True, help="that each GPU reaches, not its peak")
    duration = verb.add_mutually_exclusive_group(required=True)
    duration.add_argument("--days", type=number)
    duration.add_argument("--hours", type=number)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the budget."""
    from fit.advise import budget_flops

    hours = options.hours if options.hours is not None else options.days * 24
    flops = budget_flops(options.gpus, options.tflops, hours)
    print(f"{flops:.3g} FLOPs: {options.gpus:g} GPUs at {options.tflops:g} TFLOP/s each for {hours:g} hours")
