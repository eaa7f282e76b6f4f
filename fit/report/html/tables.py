"""The report's tables as plain values, by the words and numbers of the text report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fit.isoflop import IsoflopFit
from fit.powerlaw import Estimate
from fit.references import LAWS
from fit.report.numbers import interval, short, short_interval
from fit.report.references import power
from fit.report.summary import CAUSES, KINDS, UNNAMED, budget_status, how_corrected
from fit.report.verdict import SYMBOL
from fit.valley import AXES

MOST_RUNS = 500


@dataclass(frozen=True)
class Table:
    """Rows of text under their headings."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def optima(fit: IsoflopFit) -> Table:
    """A row a budget."""
    rows = []
    for one in fit.budgets:
        loss = "-" if one.tokens.optimum_loss is None else f"{one.tokens.optimum_loss:.4f}"
        r2 = "-" if one.tokens.status == "too-few-sizes" else f"{one.tokens.r2:.3f}"
        sizes = [
            text
            for axis in AXES
            for text in (short(one.valley(axis).optimum), short_interval(one.optimum_ci95[axis]))
        ]
        rows.append((f"{one.flops:.3g}", str(one.runs), *sizes, loss, r2, budget_status(one)))
    header = ("budget, FLOPs", "runs", "tokens D*", "95%", "params N*", "95%", "loss, nats", "R²", "status")
    return Table("The minimum of each budget's parabola", header, tuple(rows))


def laws(fit: IsoflopFit) -> Table:
    """Both laws, by plain least squares and as the interval is about."""
    rows = []
    for axis in AXES:
        found = fit.laws[axis]
        if found is None:
            rows.append((SYMBOL[axis], "no law", "-", "-", "-"))
            continue
        plain = f"{found.coefficient:.3g}·C^{found.exponent:.3f}"
        best = f"{found.corrected_coefficient:.3g}·C^{found.corrected_exponent:.3f}"
        rows.append((SYMBOL[axis], plain, "-", "-", "plain least squares, as laws are published"))
        rows.append(
            (
                SYMBOL[axis],
                best,
                interval(found.exponent_ci95),
                interval(found.coefficient_ci95),
                how_corrected(found, fit.surface),
            )
        )
    return Table("optimum = A·C^α", ("optimum", "law", "95% of α", "95% of A", "how"), tuple(rows))


def predictions(fit: IsoflopFit) -> Table | None:
    """The optima that were asked for; None where none was."""
    rows = [
        (f"{one.flops:.3g}", *(text for axis in AXES for text in _predicted(one.optima.get(axis))))
        for one in fit.predictions
    ]
    header = ("FLOPs", "tokens D*", "95%", "by the plain law", "params N*", "95%", "by the plain law")
    note = "intervals are the law's, about which one experiment's optimum scatters"
    return Table("Predictions of the optimum", header, tuple(rows), (note,)) if rows else None


def _predicted(estimate: Estimate | None) -> tuple[str, str, str]:
    if estimate is None:
        return "-", "-", "-"
    return short(estimate.corrected), short_interval(estimate.ci95), short(estimate.value)


def causes(fit: IsoflopFit) -> Table:
    """What moves α, one cause at a time."""
    rows = []
    for name, text in CAUSES.items():
        parts = [law.parts.get(name) if law is not None else None for law in fit.laws.values()]
        if any(part is not None for part in parts):
            rows.append((text, *("-" if part is None else interval(part) for part in parts)))
    return Table(
        "What moves α, one cause at a time", ("cause", *(f"α of {a}" for a in fit.laws)), tuple(rows)
    )


def approaches(fit: IsoflopFit) -> Table:
    """Each method's exponents."""
    rows = []
    for one in fit.approaches:
        cells = [one.name, one.interval]
        for axis in AXES:
            law = one.laws.get(axis)
            cells += (
                ("-", "-")
                if law is None
                else (
                    f"{law.exponent:.3f}",
                    "-" if law.exponent_ci95 is None else interval(law.exponent_ci95),
                )
            )
        rows.append(tuple(cells))
    kinds = dict.fromkeys(one.interval for one in fit.approaches)
    notes = [KINDS[kind] for kind in kinds if kind in KINDS]
    notes += [f"{one.name}: {note}" for one in fit.approaches for note in one.notes]
    header = ("approach", "kind of interval", "α of tokens", "95%", "α of params", "95%")
    return Table("Approaches side by side", header, tuple(rows), tuple(notes))


def conventions(fit: IsoflopFit) -> Table | None:
    """Both laws under each way to count; None where the table has but one."""
    rows = []
    for axis in AXES:
        for row in fit.conventions:
            law = row.laws[axis]
            named = (
                SYMBOL[axis] + " (the laws above)" * row.own,
                row.params or UNNAMED,
                row.flops or UNNAMED,
            )
            numbers = (
                ("no law", "-", "-", "-")
                if law is None
                else (
                    f"{law.coefficient:.3g}",
                    f"{law.exponent:.3f}",
                    f"{law.corrected_exponent:.3f}",
                    interval(law.exponent_ci95),
                )
            )
            rows.append((*named, *numbers))
    header = ("optimum", "params", "FLOPs", "A", "α", "α corrected", "95%")
    return Table("Ways of counting move α", header, tuple(rows)) if rows else None


def runs(fit: IsoflopFit) -> Table:
    """Every run that is drawn, what the charts say of it at a touch; the first MOST_RUNS of them."""
    table = fit.table
    rows = tuple(
        (
            str(table.run_id[i]),
            f"{table.budget[i]:.3g}",
            short(float(table.params[i])),
            short(float(table.tokens[i])),
            f"{table.loss[i]:.4f}",
        )
        for i in range(min(len(table), MOST_RUNS))
    )
    notes = () if len(table) <= MOST_RUNS else (f"and {len(table) - MOST_RUNS:,} more, in the run table",)
    return Table(
        "Runs of the charts", ("run", "budget, FLOPs", "params", "tokens", "loss, nats"), rows, notes
    )


def cost(fit: IsoflopFit) -> Table:
    """What was spent on each budget, as far as the table says."""
    table, optional = fit.table, fit.table.optional
    seconds = optional.get("wall_s")
    header = ("budget, FLOPs", "runs", "FLOPs", *(("training time",) if seconds is not None else ()))
    masks = [(f"{flops:.3g}", table.budget == flops) for flops in table.budgets]
    rows = []
    for name, chosen in [*masks, ("all", np.ones(len(table), dtype=bool))]:
        spent = float(table.flops[chosen].sum())
        time = () if seconds is None else (_duration(float(np.nansum(seconds[chosen]))),)
        rows.append((name, f"{int(chosen.sum())}", f"{spent:.3g}", *time))
    notes = ["each run is counted whole: what several share, as a trunk, was trained once"]
    if (mfu := optional.get("mfu")) is not None:
        notes.append(f"model FLOP utilisation: {np.nanmedian(mfu):.0%} in the median")
    return Table("What the runs cost", header, tuple(rows), tuple(notes))


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def references() -> Table:
    """Every published law."""
    rows = tuple(
        (
            law.title,
            power(law.tokens_coefficient, law.tokens_exponent),
            "-" if law.params_exponent is None else power(law.params_coefficient, law.params_exponent),
            law.source,
        )
        for law in LAWS
    )
    return Table(
        "Optimal tokens and params = A·C^α, as published", ("law", "tokens D*", "params N*", "source"), rows
    )
