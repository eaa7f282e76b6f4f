"""`python -m scaling_runs bench compare A.json B.json …`: machines side by side, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fit.errors import UserError
from scaling_runs.bench.profile import Profile, Row, Setting, read_profile, shapes_of
from scaling_runs.bench.report import SETTING_HEADER, joules, memory, setting_columns
from scaling_runs.numbers import count, number

USAGE = "usage: python -m scaling_runs bench compare A.json B.json …"
COLUMNS: tuple[tuple[str, Callable[[Profile, Row], str]], ...] = (
    ("tokens/s", lambda profile, row: count(row.tokens_per_s)),
    ("MFU", lambda profile, row: f"{profile.mfu(row):.0%}"),
    ("MB each", lambda profile, row: memory(row)),
    ("J/Mtoken", lambda profile, row: joules(row)),
)


def compare(arguments: Sequence[str]) -> str:
    """The profiles of these files as one table. UserError where one can't be read, or they have nothing in common."""
    if len(arguments) < 2:
        given = f"only '{arguments[0]}' is given" if arguments else "no profile is given"
        raise UserError(f"{given}, and a comparison takes two or more; {USAGE}")
    paths = [Path(argument) for argument in arguments]
    return compared(paths, [read_profile(path) for path in paths])


def compared(paths: Sequence[Path], profiles: Sequence[Profile]) -> str:
    """Rows that all profiles have, side by side. UserError where there are none."""
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    found = [{_key(row.setting): row for row in profile.rows} for profile in profiles]
    common = [key for key in found[0] if all(key in rows for rows in found)]
    if not common:
        held = "; ".join(
            f"{name} has {', '.join(shapes_of(profile.rows)) or 'none'}"
            for name, profile in zip(names, profiles, strict=True)
        )
        raise UserError(
            f"the profiles have no row in common, of shape, batch, precision, compile and devices ({held}); measure "
            f"the same on each by python -m scaling_runs bench shape=… batch=…"
        )
    lines = [
        f"{name}: {profile.machine}, {number(profile.devices, 'device')}, torch {profile.torch}"
        for name, profile in zip(names, profiles, strict=True)
    ]
    width = max(9, *map(len, names))
    lines.append("")
    group = (width + 1) * len(names) - 1
    lines.append(" " * len(SETTING_HEADER) + "".join(f"  {title:>{group}}" for title, _ in COLUMNS))
    lines.append(
        SETTING_HEADER + "".join("  " + " ".join(f"{name:>{width}}" for name in names) for _ in COLUMNS)
    )
    for key in common:
        rows = [of_one[key] for of_one in found]
        cells = [
            " ".join(f"{show(profile, row):>{width}}" for profile, row in zip(profiles, rows, strict=True))
            for _, show in COLUMNS
        ]
        lines.append("  ".join([setting_columns(rows[0].setting), *cells]))
    for name, of_one in zip(names, found, strict=True):
        if alone := len(of_one) - len(common):
            lines.append(f"{number(alone, 'row')} of {name} {'is' if alone == 1 else 'are'} not in all")
    return "\n".join(lines)


def _key(setting: Setting) -> tuple[object, ...]:
    """What makes rows of two machines comparable: threads of a CPU are its own affair."""
    return (
        setting.shape,
        setting.seq_len,
        setting.batch,
        setting.precision,
        setting.compile,
        setting.devices,
        setting.optimizer,
    )
