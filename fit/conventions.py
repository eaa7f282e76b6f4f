"""The laws under every way to count params and FLOPs that a table's columns allow.

At small sizes embeddings and logits are much of a model, and counting them or not moves the exponent by 0.1 and more:
it is most of what parts Kaplan et al. from Hoffmann et al. (Pearce and Song, arXiv 2406.12907; Porian et al.,
arXiv 2406.19146).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fit.axis import fit_axis
from fit.powerlaw import PowerLaw, Prediction
from fit.surface import UNKNOWNS, Surface, fit_surface
from fit.table import RunTable
from fit.valley import AXES, Axis, ParabolaOptions, fit_valley


@dataclass(frozen=True)
class ConventionFit:
    """The laws under one way to count, both axes."""

    params: str | None
    """all, no_embedding, body; None for the table's own column where none of the `params_*` columns equals it."""
    flops: str | None
    """exact, 6nd; None likewise."""
    own: bool
    """Whether the table's own columns count so: its laws are then the headline's."""
    laws: Mapping[str, PowerLaw | None]
    """By axis."""
    predictions: tuple[Prediction, ...]
    """Budgets asked for, counted under `flops`."""


def fit_conventions(
    table: RunTable,
    laws: Mapping[str, PowerLaw | None],
    *,
    surface: Surface | None,
    options: ParabolaOptions | None = None,
    predict: Sequence[float] = (),
) -> tuple[ConventionFit, ...]:
    """One fit a pair of conventions; none where the table has columns for no convention.

    laws, surface: the headline's, which stand for the table's own columns; a surface is fitted anew where params are
    counted otherwise. predict: FLOPs, counted under each in turn.
    """
    if not table.params_under and not table.flops_under:
        return ()
    found = []
    for params_name, params in _ways(table.params, table.params_convention, table.params_under).items():
        counted = replace(table, params=params)
        own_params = params_name == table.params_convention
        through = surface if own_params else _surface(counted)
        for flops_name, flops in _ways(table.flops, table.flops_convention, table.flops_under).items():
            own_flops = flops_name == table.flops_convention
            own = own_params and own_flops
            under = laws if own else _laws(counted, None if own_flops else flops, through, options)
            predictions = tuple(
                Prediction(at, {axis: law.predict(at) for axis, law in under.items() if law})
                for at in map(float, predict)
            )
            found.append(ConventionFit(params_name, flops_name, own, under, predictions))
    return tuple(found)


def recount(
    table: RunTable, axis: Axis, flops: np.ndarray, options: ParabolaOptions | None = None
) -> RunTable:
    """`table` with (n,) other `flops`, each nominal budget being worth what its optimum along `axis` costs under them.

    Runs that are equal in the nominal FLOPs are not so in others: these change with size along the budget. So the runs
    stay grouped as they are, and the others are read off at the minimum of the parabola, linearly in log size between
    the runs; at the geometric mean of the runs where there is no minimum.
    """
    sizes = table.tokens if axis == "tokens" else table.params
    budget = np.empty_like(table.budget)
    for nominal in table.budgets:
        here = table.budget == nominal
        optimum = fit_valley(table, float(nominal), axis, options).optimum
        spent = np.log(flops[here])
        budget[here] = np.exp(spent.mean() if optimum is None else _read_off(sizes[here], spent, optimum))
    return replace(table, budget=budget, flops=flops)


def _laws(
    table: RunTable, flops: np.ndarray | None, surface: Surface | None, options: ParabolaOptions | None
) -> dict[str, PowerLaw | None]:
    """flops: (n,) other than the table's own; None for these."""
    return {
        axis: fit_axis(
            table if flops is None else recount(table, axis, flops, options),
            axis,
            surface=surface,
            options=options,
        ).law
        for axis in AXES
    }


def _ways(
    own: np.ndarray, own_name: str | None, under: Mapping[str, np.ndarray]
) -> dict[str | None, np.ndarray]:
    """(n,) counts by the convention's name, the table's own among them."""
    ways: dict[str | None, np.ndarray] = {} if own_name in under else {own_name: own}
    ways.update(under.items())
    return ways


def _surface(table: RunTable) -> Surface | None:
    return fit_surface(table.params, table.tokens, table.loss).surface if len(table) > UNKNOWNS else None


def _read_off(sizes: np.ndarray, logs: np.ndarray, size: float) -> float:
    """(n,) `logs` at `size`; runs of equal size count as one."""
    different, group = np.unique(np.log(sizes), return_inverse=True)
    means = np.bincount(group, weights=logs) / np.bincount(group)
    return float(np.interp(np.log(size), different, means))
