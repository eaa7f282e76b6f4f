"""`python -m fit budget`: FLOPs, GPU-hours, days, money and energy, each from the others."""

from __future__ import annotations

import argparse
from typing import Any

from fit.errors import UserError
from fit.verbs.budget_options import NEEDED, add_budget_options, budget_of


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser("budget", help="FLOPs of a cluster for a time or a price, and back")
    add_budget_options(verb)
    verb.add_argument("--list-gpus", action="store_true", help="the table of GPUs, and nothing else")
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the budget, or the table of GPUs."""
    from fit.gpus import with_own
    from fit.report.budget import render_budget, render_gpus

    if options.list_gpus:
        print(render_gpus(with_own(options.gpu_table)))
        return
    budget = budget_of(options)
    if budget is None:
        raise UserError(f"nothing says what there is to spend; {NEEDED}")
    if budget.machine is None:
        raise UserError(
            f"{budget.flops:.3g} FLOPs are given but not how fast a GPU is; give --gpu h100, say, or --tflops"
        )
    print(render_budget(budget))
