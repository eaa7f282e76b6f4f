"""`python -m fit advise`: what to train for a budget, what a deviation costs, and what constraints cost."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from fit.errors import UserError
from fit.verbs.arguments import LAW_HELP, number
from fit.verbs.budget_options import NEEDED, add_budget_options, budget_of

if TYPE_CHECKING:
    from fit.advise import Advice
    from fit.budget import Budget
    from fit.constraints import Constraints
    from fit.laws import PlannerLaw
    from fit.shape import Build


def add(verbs: Any) -> None:
    """Declare the verb and its options."""
    verb = verbs.add_parser(
        "advise", help="what to train for a budget, and what deviations and constraints cost"
    )
    verb.add_argument("--law", required=True, help=LAW_HELP)
    add_budget_options(verb)
    verb.add_argument(
        "--loss",
        type=number,
        metavar="NATS",
        help="in place of a budget: the least FLOPs that reach this loss",
    )
    _add_constraints(verb.add_argument_group("constraints", "each says how much compute it wastes"))
    shape = verb.add_argument_group("the model that is built")
    shape.add_argument(
        "--model",
        default="llama3",
        metavar="LADDER",
        help="of configs/model, or a YAML file; llama3 where not given",
    )
    shape.add_argument(
        "--vocab", type=number, metavar="N", help="tokens of the vocabulary; Llama 3's where not given"
    )
    shape.add_argument(
        "--batch-tokens", type=number, metavar="N", help="of a step; by DeepSeek's rule where not given"
    )
    verb.set_defaults(run=run)


def _add_constraints(group: Any) -> None:
    group.add_argument(
        "--max-tokens", type=number, metavar="N", help="unique tokens that there are; more are repeats"
    )
    group.add_argument("--params", type=number, metavar="N", help="the size is fixed")
    group.add_argument(
        "--memory",
        type=number,
        metavar="GB",
        help="of each GPU; weights and optimiser are sharded over --gpus",
    )
    group.add_argument(
        "--bytes-per-param",
        type=number,
        metavar="N",
        help="held in training; 16 where not given: AdamW, mixed precision",
    )
    group.add_argument(
        "--inference-tokens",
        type=number,
        metavar="N",
        help="served in the model's life, out of the same FLOPs",
    )


def run(options: argparse.Namespace) -> None:
    """Print the advice."""
    from fit.advise import advise
    from fit.laws import load_law
    from fit.report.advice import render_advice
    from fit.report.budget import cost_lines

    law = load_law(options.law)
    budget = _budget(options, law)
    advice = advise(law, budget.flops)
    constraints = _constraints(options, budget)
    costs = cost_lines(budget) if budget.machine else []
    print(render_advice(advice, _build(options, advice, constraints), _named(constraints, options), costs))


def _budget(options: argparse.Namespace, law: PlannerLaw) -> Budget:
    """What is to be spent, or what the loss that is asked for takes."""
    from fit.advise import flops_for_loss

    if options.loss is not None:
        in_all = options.hours is not None and options.hours.total is not None
        if in_all or any(getattr(options, name) is not None for name in ("flops", "days", "price")):
            raise UserError(
                "--loss says what to reach, and another option what there is to spend; give one of them"
            )
        options.flops = flops_for_loss(law, options.loss)
    budget = budget_of(options)
    if budget is None:
        raise UserError(f"nothing says what there is to spend; {NEEDED}")
    return budget


def _constraints(options: argparse.Namespace, budget: Budget) -> Constraints:
    from fit.constraints import BYTES_A_PARAM, Constraints, most_params

    if options.bytes_per_param is not None and options.memory is None:
        raise UserError("--bytes-per-param is given without --memory, which it divides; give both")
    most = None
    if options.memory is not None:
        most = most_params(options.memory, budget.gpus or 1.0, options.bytes_per_param or BYTES_A_PARAM)
    if most is not None and options.params is not None and options.params > most:
        raise UserError(
            f"--params {options.params:.3g} do not fit: --memory {options.memory:g} holds {most:.3g} params on "
            f"{f'{budget.gpus:g} GPUs' if budget.gpus else 'one GPU'}; give more --gpus, or fewer params"
        )
    return Constraints(options.max_tokens, options.params, most, options.inference_tokens or 0.0)


def _named(constraints: Constraints, options: argparse.Namespace) -> dict[str, Constraints]:
    """Each constraint alone by how a report calls it, then all together where there are several."""
    from fit.constraints import BYTES_A_PARAM, Constraints
    from fit.report.numbers import short

    named: dict[str, Constraints] = {}
    if constraints.unique_tokens is not None:
        named[f"{short(constraints.unique_tokens)} unique tokens"] = Constraints(constraints.unique_tokens)
    if constraints.params is not None:
        named[f"{short(constraints.params)} params"] = Constraints(params=constraints.params)
    if constraints.most_params is not None:
        a_param = options.bytes_per_param or BYTES_A_PARAM
        on = f" x {options.gpus:g} GPUs" if options.gpus else ""
        name = (
            f"{options.memory:g} GB{on}: {short(constraints.most_params)} params at {a_param:g} bytes each, "
            f"activations not counted"
        )
        named[name] = Constraints(most_params=constraints.most_params)
    if constraints.inference_tokens:
        name = f"{short(constraints.inference_tokens)} tokens served"
        named[name] = Constraints(inference_tokens=constraints.inference_tokens)
    if len(named) > 1:
        named["all of these"] = constraints
    return named


def _build(options: argparse.Namespace, advice: Advice, constraints: Constraints) -> Build:
    """The shape of the best choice under all constraints."""
    from fit.constraints import INFERENCE_FLOPS, best_choice
    from fit.shape import DEFAULT_VOCABULARY, build, load_sizes

    vocabulary = DEFAULT_VOCABULARY if options.vocab is None else round(options.vocab)
    params = best_choice(advice.tradeoff, constraints).params
    if constraints.params is None:  # the law's own size, where 6ND of its two optima is not the budget
        params *= advice.params / advice.tradeoff.params
    return build(
        load_sizes(options.model, vocabulary),
        params,
        advice.law.params_convention or "all",
        advice.flops,
        INFERENCE_FLOPS * constraints.inference_tokens,
        options.batch_tokens,
        exact=advice.law.flops_convention == "exact",
        most_params=math.inf if constraints.most_params is None else constraints.most_params,
    )
