"""A fit as one HTML file that needs no network: text, tables, charts to point at, and a panel to decide by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fit.curves import Curve
from fit.isoflop import IsoflopFit
from fit.laws import law_of_fit
from fit.report.html import tables
from fit.report.html.charts import Chart, charts
from fit.report.html.panel import panel_data, published_laws
from fit.report.losslaw import render_loss_law
from fit.report.summary import check_lines, set_aside_lines
from fit.report.verdict import can_be_concluded, cannot_be_concluded, headline
from fit.result import fit_to_dict, write_atomically
from fit.text import short_name

HERE, FRAME = "fit.report.html", "base.html.j2"
FIT_JSON = "fit.json"
"""What the panel's command calls the fit, where nobody says where it was written."""


@dataclass(frozen=True)
class Extra:
    """A section that the fit itself knows nothing of, such as how a sweep came to its cells."""

    title: str
    text: str


def write_report(
    fit: IsoflopFit,
    path: Path,
    curves: Sequence[Curve] = (),
    extras: Sequence[Extra] = (),
    fit_json: str | None = None,
    name: str | None = None,
    build: Sequence[str] = (),
) -> None:
    """Write the report of `fit` to `path`, whole or not at all. UserError where that can't be done.

    fit_json: where the fit's JSON lies, for the command that the decision panel shows; None where it was not written.
    name: of the experiment, in place of its table's. build: as `panel_data` takes it.
    """
    write_atomically(path, report(fit, curves, extras, fit_json, name, build).encode())


def report(
    fit: IsoflopFit,
    curves: Sequence[Curve] = (),
    extras: Sequence[Extra] = (),
    fit_json: str | None = None,
    name: str | None = None,
    build: Sequence[str] = (),
) -> str:
    """The page."""
    content = fit_to_dict(fit)
    place = fit_json or FIT_JSON
    law = law_of_fit(content, Path(place))
    top = max(float(flops) for flops in fit.table.budgets)
    panel = panel_data([(place, law), *published_laws()], top, build, written=fit_json is not None)
    named = {
        name: getattr(tables, name)(fit)
        for name in ("optima", "laws", "predictions", "runs", "causes", "approaches", "conventions", "cost")
    }
    return page(
        "report.html.j2",
        charts(fit, curves),
        panel,
        title=f"isoFLOP report: {name or short_name(fit.table.source)}",
        fit=fit,
        budgets=[f"{budget.flops:.3g}" for budget in fit.budgets],
        headline=headline(fit, law),
        can=can_be_concluded(fit),
        cannot=cannot_be_concluded(fit),
        checks=check_lines(fit),
        set_aside=set_aside_lines(fit),
        loss_law=render_loss_law(fit.loss_law, [one.flops for one in fit.predictions]).splitlines()[1:],
        extras=extras,
        curves=bool(curves),
        tables=named | {"references": tables.references()},
    )


def page(
    template: str,
    drawn: Mapping[str, Chart],
    panel: Mapping[str, Any] | None,
    *,
    package: str = HERE,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    **values: Any,
) -> str:
    """A page of the frame `base.html.j2`, whose script draws each of `drawn` in the place of its name.

    package: that of `template`, and of the `scripts` and `styles` that the page has beside the frame's.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _file(name, HERE if name == FRAME else package)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        plotly=_plotly(),
        style="\n".join([_file("style.css"), *(_file(name, package) for name in styles)]),
        scripts=[
            *(_file(name) for name in (("decide.js", "panel.js") if panel else ())),
            _file("page.js"),
            *(_file(name, package) for name in scripts),
        ],
        data=embedded({"charts": drawn, "panel": panel}),
        **values,
    )


def embedded(value: Any) -> str:
    """JSON that stands in a script element: no text of a table can end it."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _file(name: str, package: str = HERE) -> str:
    return (files(package) / name).read_text()
