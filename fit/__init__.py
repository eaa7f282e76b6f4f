"""From a run table to a law. Imports neither torch nor anything of `scaling_runs`; starts in a fraction of a second.

from fit import fit_isoflop, load_runs
fit = fit_isoflop(load_runs("runs.csv"), predict=[1e20])
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "SourceOptions": "fit.sources",
    "UserError": "fit.errors",
    "compare_fits": "fit.compare",
    "draw_diagnostics": "fit.report.diagnostics_figure",
    "draw_isoflop": "fit.report.figures",
    "fit_curve": "fit.curve",
    "fit_envelope": "fit.envelope",
    "fit_isoflop": "fit.isoflop",
    "fit_link": "fit.downstream",
    "fit_loss_law": "fit.losslaw",
    "fit_surface": "fit.surface",
    "load_curves": "fit.curves",
    "load_law": "fit.laws",
    "load_runs": "fit.table",
    "render": "fit.report.summary",
    "write_fit": "fit.result",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Loaded when asked for, so that `python -m fit --help` loads no numpy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fit' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
