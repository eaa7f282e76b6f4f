"""What is wrong with single runs, and with how they are counted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fit.diagnostics.finding import Warning_, named, runs
from fit.table import RunTable

EPOCHS = 4.0
"""Up to here repeated data is nearly as good as new (Muennighoff et al., arXiv 2305.16264, section 6)."""
NEAR = np.log(1.1)
"""FLOPs within a tenth of one another are near."""
DERIVED = " derived from C"
"""In the note of `fit.columns.derive`."""
BY_6ND = 6.0
"""FLOPs a param and token (Kaplan et al., arXiv 2001.08361, eq. 2.1)."""


def run_findings(table: RunTable, trained: RunTable) -> list[Warning_]:
    """Of the runs that are fitted, and of those that are not.

    trained: `table` with the runs of every learning rate, of which it has the best.
    """
    return [
        *_below_one(table),
        *_repeated(table),
        *_above_uniform(table),
        *_overspent(table),
        *_another_convention(table),
        *_rates_at_edge(trained),
        *_derived(table),
        *_set_aside(table),
    ]


def is_derived(note: str) -> bool:
    """Whether a table's note is that of a derived column, which `derived-column` says with what to do."""
    return DERIVED in note


def _derived(table: RunTable) -> list[Warning_]:
    return [
        Warning_(
            "derived-column",
            f"{note}, so params and tokens say the same of a budget: add the column, or name it with --column "
            f"{note.split()[0]}=NAME",
        )
        for note in table.notes
        if is_derived(note)
    ]


def _below_one(table: RunTable) -> list[Warning_]:
    """Sizes that no model and no corpus has: a column in other units, or derived from one."""
    found = []
    for name, values in (("params", table.params), ("tokens", table.tokens)):
        bad = values < 1
        if bad.any():
            names = [str(name) for name in table.run_id[bad]]
            text = (
                f"{runs(int(bad.sum()), 'has', 'have')} fewer {name} than one, down to {values.min():.3g} "
                f"({named(names)}): give FLOPs, params and tokens as counts, not in billions or the like"
            )
            found.append(Warning_("impossible-size", text))
    return found


def _repeated(table: RunTable) -> list[Warning_]:
    epochs = table.tokens / _optional(table, "unique_tokens")
    bad = epochs > EPOCHS
    if not bad.any():
        return []
    text = (
        f"{runs(int(bad.sum()), 'passes', 'pass')} over the same data more than {EPOCHS:.0f} times, up to "
        f"{epochs[bad].max():.3g} ({named(table.run_id[bad])}): repeated data is worth less than new "
        f"(arXiv 2305.16264); use a larger corpus"
    )
    return [Warning_("repeated-data", text)]


def _above_uniform(table: RunTable) -> list[Warning_]:
    uniform = np.log(_optional(table, "vocab_size"))
    bad = table.loss > uniform
    if not bad.any():
        return []
    text = (
        f"{runs(int(bad.sum()), 'has', 'have')} a loss above ln(vocab_size) = {uniform[bad][0]:.3g} nats, that of "
        f"guessing each token alike ({named(table.run_id[bad])}): train again, or give the loss in nats a token"
    )
    return [Warning_("above-uniform", text)]


def _overspent(table: RunTable) -> list[Warning_]:
    log_ratio = np.log(table.flops / table.budget)
    bad = np.abs(log_ratio) > NEAR
    if not bad.any():
        return []
    worst = int(np.argmax(np.abs(log_ratio)))
    text = (
        f"{runs(int(bad.sum()), 'has', 'have')} spent FLOPs more than 10% off the budget, {table.run_id[worst]} "
        f"{np.exp(log_ratio[worst]):.3g}x ({named(table.run_id[bad])}): train again to the budget, or mend its column"
    )
    return [Warning_("overspent-budget", text)]


def _another_convention(table: RunTable) -> list[Warning_]:
    """Where flops are not 6·N·D; a table that names another count of its own, such as exact, is not asked to be."""
    if table.flops_convention not in (None, "6nd"):
        return []
    count = table.flops / (table.params * table.tokens)
    off = ~_near(count, BY_6ND)
    if not off.any():
        return []
    text = (
        f"{runs(int(off.sum()), 'has', 'have')} flops more than 10% off 6 x params x tokens "
        f"({named(table.run_id[off])}); {_which_fits(table, count)}"
    )
    return [Warning_("another-convention", text)]


def _which_fits(table: RunTable, count: np.ndarray) -> str:
    """In words, the count that is within 10% at every run, the nearest first; count: (n,) FLOPs a param and token."""
    by_params = {name: table.flops / (params * table.tokens) for name, params in table.params_under.items()}
    by_flops = {name: flops / (table.params * table.tokens) for name, flops in table.flops_under.items()}
    if (name := _nearest(by_params)) is not None:
        return f"they are 6 x params_{name} x tokens: map it with --column params=params_{name}"
    if (name := _nearest(by_flops)) is not None:
        return f"flops_{name} is: map it with --column flops=flops_{name}, or ask for budgets in FLOPs as counted here"
    factor = float(np.exp(np.mean(np.log(count))))
    if np.all(_near(count, factor)):
        return f"they are {factor:.3g} x params x tokens: ask for budgets in FLOPs as counted here"
    return (
        f"no column and no one factor fits, they are {count.min():.3g} to {count.max():.3g} x params x tokens: ask for "
        f"budgets in FLOPs as counted here"
    )


def _nearest(counts: Mapping[str, np.ndarray]) -> str | None:
    """Of (n,) FLOPs a param and token by name, the name of those nearest to 6; None where none is near at each run."""
    misses = {name: float(np.max(np.abs(np.log(count / BY_6ND)))) for name, count in counts.items()}
    name = min(misses, key=lambda one: misses[one], default=None)
    return name if name is not None and misses[name] <= NEAR else None


def _near(count: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(np.abs(np.log(count / factor)) <= NEAR)


def _rates_at_edge(table: RunTable) -> list[Warning_]:
    """Among runs that are equal in budget and params and differ in learning rate."""
    rates = _optional(table, "lr")
    found = []
    for budget in table.budgets:
        here = np.isfinite(rates) & (table.budget == budget)
        sizes = np.unique(table.params[here])
        places = {
            float(size): _best_rate(rates[here], table.loss[here], table.params[here] == size)
            for size in sizes
        }
        for side, way in (("smallest", "smaller"), ("largest", "larger")):
            edge = [f"{size:.3g} (lr {rate:.3g})" for size, (rate, at) in places.items() if at == side]
            if edge:
                text = (
                    f"the lowest loss is that of the {side} learning rate tried at {len(edge)} of {len(sizes)} sizes, "
                    f"params {named(edge)}: try {way} ones there"
                )
                found.append(Warning_("lr-at-edge", text, float(budget)))
    return found


def _best_rate(rates: np.ndarray, loss: np.ndarray, chosen: np.ndarray) -> tuple[float, str]:
    """The rate of lowest loss, seeds averaged, and where it stands: smallest, largest, inside or alone."""
    tried, group = np.unique(rates[chosen], return_inverse=True)
    best = int(np.argmin(np.bincount(group, weights=loss[chosen]) / np.bincount(group)))
    if len(tried) == 1:
        return float(tried[0]), "alone"
    place = "smallest" if best == 0 else "largest" if best == len(tried) - 1 else "inside"
    return float(tried[best]), place


def _set_aside(table: RunTable) -> list[Warning_]:
    duplicates = [item.run_id for item in table.set_aside if item.kind == "repeated"]
    others = [item.run_id for item in table.set_aside if item.kind == "failed"]
    incomplete = [item for item in table.set_aside if item.kind == "incomplete"]
    found = []
    if duplicates:
        text = (
            f"{runs(len(duplicates), 'repeats', 'repeat')} another, counted once ({named(duplicates)}): remove "
            f"the copies, or tell runs of other seeds apart by a seed column"
        )
        found.append(Warning_("duplicate-runs", text))
    if others:
        text = f"{runs(len(others), 'is', 'are')} not fitted ({named(others)}): train them again"
        found.append(Warning_("failed-runs", text))
    if incomplete:
        reasons = ", ".join(sorted({item.reason for item in incomplete}))
        text = (
            f"{runs(len(incomplete), 'is', 'are')} not fitted for want of a number "
            f"({named([item.run_id for item in incomplete])}: {reasons}): fill it in, or map another column with "
            f"--column"
        )
        found.append(Warning_("incomplete-runs", text))
    return found


def _optional(table: RunTable, name: str) -> np.ndarray:
    """(n,) NaN where the table does not say; comparisons with it are false."""
    return table.optional.get(name, np.full(len(table), np.nan))
