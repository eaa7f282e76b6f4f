"""Writes the pages that are not kept by hand: options.md and warnings.md, from what the code declares.

    python docs/generate.py

`make docs` does so before it builds the site, and `tests/docs/test_generated.py` fails where a page is not current.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from fit.cli import _parser  # noqa: E402
from fit.diagnostics import codes as of_fits  # noqa: E402
from fit.diagnostics.codes import Explanation  # noqa: E402
from hydra_plugins.isoflop.ray import RayLauncherConfig  # noqa: E402
from hydra_plugins.isoflop.slurm import SlurmLauncherConfig  # noqa: E402
from scaling_runs import problems  # noqa: E402
from scaling_runs.__main__ import USAGE  # noqa: E402
from scaling_runs.config import Config, ModelConfig, TrackingConfig  # noqa: E402
from scaling_runs.data.config import DataConfig, PartConfig  # noqa: E402
from scaling_runs.grid import SweepConfig  # noqa: E402
from scaling_runs.ray_cells import RayOptions  # noqa: E402
from scaling_runs.recipe import RecipeConfig  # noqa: E402
from scaling_runs.slurm.options import SlurmOptions  # noqa: E402

PAGES = Path(__file__).parent
MADE = "<!-- Made by docs/generate.py of what the code declares: change it there. -->\n\n"
GROUPS = {
    "sweep": (SweepConfig, "A grid of cells."),
    "model": (ModelConfig, "A ladder of shapes; `models/shapes.py` makes them."),
    "data": (DataConfig, "A corpus; [data.md](data.md)."),
    "recipe": (RecipeConfig, "The rules that set learning rate, batch and schedule; [recipe.md](recipe.md)."),
    "tracking": (TrackingConfig, "W&B."),
}
LAUNCHERS = {
    "slurm": (SlurmOptions, SlurmLauncherConfig),
    "ray": (RayOptions, RayLauncherConfig),
}
LAUNCH = """\
Options are written `name=value`, as in `sweep=isoflop_small recipe.lr=3e-3`; lists as `sweep.budgets=[2e11,1e12]`. A
group is chosen by the name of one of its files in `configs/`, and each of its values can then be set. Where none is
named, {chosen}; what a group's file or a sweep's sets goes before the defaults below. All that a command would use:
`python launch.py sweep=isoflop_small --cfg job`.
"""
WARNINGS = """\
What is wrong with a plan or with data is told by a code and a sentence that says what to do. Nothing is left out or
changed in silence: a budget or a run that a law does without is named with its reason.
"""


def main() -> None:
    """Write both pages."""
    for name, page in pages().items():
        (PAGES / name).write_text(page)


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    return {"options.md": options_page(), "warnings.md": warnings_page()}


def options_page() -> str:
    """What can be set, with its default and its meaning."""
    parts = [
        f"{MADE}# Every option\n",
        "## `python launch.py`\n",
        LAUNCH.format(chosen=_chosen()),
        _table(Config, "", skip=tuple(GROUPS)),
    ]
    for group, (schema, what) in GROUPS.items():
        parts += [f"### `{group}`\n", f"{what}\n", _files(group), _table(schema, f"{group}.")]
        if group == "data":
            parts += ["Of each part of a mixture:\n", _table(PartConfig, "data.parts[i].")]
    parts += [
        "### `hydra/launcher`\n",
        "How cells are started: [cluster.md](cluster.md).\n",
        _files("hydra/launcher"),
    ]
    for name, (meaning, defaults) in LAUNCHERS.items():
        parts += [f"With `hydra/launcher={name}`:\n", _table(meaning, "hydra.launcher.", defaults=defaults())]
    parts += ["## `python -m scaling_runs`\n", f"{textwrap.indent(USAGE, '    ')}\n", "## `python -m fit`\n"]
    parts += list(_verbs())
    return "\n".join(parts)


def warnings_page() -> str:
    """Every code of a fit and of a plan."""
    return "\n".join(
        [
            f"{MADE}# Every warning\n",
            WARNINGS,
            "## Of a fit\n",
            "Printed below the laws as `code at budget: sentence`, and in a fit's JSON under `warnings`.\n",
            "### One budget's valley\n",
            *_explained(of_fits.OF_VALLEYS),
            "### The laws\n",
            *_explained(of_fits.OF_LAWS),
            "### The runs\n",
            *_explained(of_fits.OF_RUNS),
            "## Of a plan\n",
            "Printed by a dry run and before a sweep begins; nothing has been spent yet.\n",
            *_explained(problems.CODES),
        ]
    )


def _explained(codes: Mapping[str, Explanation]) -> Iterator[str]:
    for code, one in codes.items():
        yield f"#### `{code}`\n\n{one.means}\n\n- **When:** {one.decided}\n- **What to do:** {one.mend}\n"


def described(schema: type[Any]) -> dict[str, str]:
    """Each field's docstring, the string below it, on one line; of inherited fields too."""
    found: dict[str, str] = {}
    for one in reversed([base for base in schema.__mro__ if dataclasses.is_dataclass(base)]):
        (node,) = (node for node in ast.parse(inspect.getsource(one)).body if isinstance(node, ast.ClassDef))
        for field, below in itertools.pairwise(node.body):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[field.target.id] = " ".join(str(below.value.value).split())
    return found


def _table(schema: type[Any], prefix: str, *, skip: tuple[str, ...] = (), defaults: Any = None) -> str:
    """defaults: whose they are, where another dataclass has them."""
    meaning = described(schema)
    rows = ["| option | default | |", "|---|---|---|"]
    for field in dataclasses.fields(schema):
        if field.name in skip:
            continue
        if field.name not in meaning:
            raise SystemExit(f"{schema.__name__}.{field.name} has no description; write one below it")
        value = _default(field) if defaults is None else getattr(defaults, field.name)
        rows.append(f"| `{prefix}{field.name}` | {_shown(value)} | {_cell(meaning[field.name])} |")
    return "\n".join(rows) + "\n"


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


def _shown(value: Any) -> str:
    """As it would be typed."""
    if value == MISSING:
        return "must be given"
    if value == "":
        return ""
    if value == "${workers:}":
        return "a cell a core, or a GPU"
    words = {None: "null", True: "true", False: "false"}
    plain = words.get(value, value) if isinstance(value, bool | None) else value
    return f"`{plain:g}`" if isinstance(plain, float) else f"`{plain}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _files(group: str) -> str:
    """The files of a group, each with the comment that it begins with."""
    rows = ["| | |", "|---|---|"]
    for path in sorted((ROOT / "configs" / group).glob("*.yaml")):
        comment = []
        for line in path.read_text().splitlines():
            if line.startswith("# @package"):
                continue
            if not line.startswith("#"):
                break
            comment.append(line.lstrip("# "))
        rows.append(f"| `{group}={path.stem}` | {_cell(' '.join(comment))} |")
    return "\n".join(rows) + "\n"


def _chosen() -> str:
    """The groups' files that `configs/config.yaml` names."""
    defaults = yaml.safe_load((ROOT / "configs" / "config.yaml").read_text())["defaults"]
    named = {key: value for one in defaults if isinstance(one, dict) for key, value in one.items()}
    return ", ".join(f"`{group}={named[group]}`" for group in GROUPS if named[group] is not None)


def _verbs() -> Iterator[str]:
    """A table of options for each verb of `python -m fit`."""
    (verbs,) = (one for one in _parser()._actions if isinstance(one, argparse._SubParsersAction))
    what = {one.dest: one.help for one in verbs._choices_actions}
    for name, parser in verbs.choices.items():
        yield f"### `python -m fit {name}`\n\n{str(what[name]).capitalize()}.\n"
        rows = ["| option | | |", "|---|---|---|"]
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            if not action.help:
                raise SystemExit(f"{name} {action.dest} has no help; give it one where it is declared")
            rows.append(f"| `{_typed(action)}` | {_needed(action)} | {_cell(action.help)} |")
        yield "\n".join(rows) + "\n"


def _typed(action: argparse.Action) -> str:
    """--weights equal,near; --predict FLOPS …"""
    metavar = action.metavar or (
        ",".join(map(str, action.choices)) if action.choices else action.dest.upper()
    )
    if not action.option_strings:
        return str(metavar)
    if action.nargs == 0:
        return action.option_strings[0]
    return f"{action.option_strings[0]} {metavar}{' …' if action.nargs == '+' else ''}"


def _needed(action: argparse.Action) -> str:
    if action.required:
        return "must be given"
    if action.default in (None, [], False):
        return ""
    return f"default `{action.default}`"


if __name__ == "__main__":
    main()
