"""What is wrong with this data: each finding has a code, and a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fit.diagnostics.finding import Warning_, merge_axes
from fit.diagnostics.laws import law_findings
from fit.diagnostics.outliers import outlier_findings
from fit.diagnostics.runs import run_findings
from fit.diagnostics.valleys import OFF_CENTRE, SHALLOW, valley_findings

if TYPE_CHECKING:
    from fit.isoflop import Budget
    from fit.powerlaw import PowerLaw
    from fit.surface import SurfaceFit
    from fit.table import RunTable

__all__ = ["OFF_CENTRE", "SHALLOW", "Warning_", "fit_warnings"]


def fit_warnings(
    table: RunTable,
    budgets: Sequence[Budget],
    laws: Mapping[str, PowerLaw | None],
    *,
    trained: RunTable,
    surface: SurfaceFit | None,
    seed_sd: float | None,
    run_sd: Mapping[str, float | None],
) -> list[Warning_]:
    """Everything that a reader of the fit should know: of each budget, of the laws, of the runs.

    trained: `table` with the runs of every learning rate. surface: through all runs; None with too few of them.
    seed_sd: nats, of equal cells; None where none was repeated.
    run_sd: nats, by axis, of the runs about their parabolas; None where it is not known.
    """
    found: list[Warning_] = []
    for budget in budgets:
        for valley in (budget.tokens, budget.params):
            found += valley_findings(valley, budget.lost[valley.axis], seed_sd, run_sd[valley.axis])
    for valleys in ([budget.tokens for budget in budgets], [budget.params for budget in budgets]):
        found += outlier_findings(table, valleys)
    return merge_axes(found + law_findings(budgets, laws, surface)) + run_findings(table, trained)
