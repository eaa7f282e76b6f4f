"""A profile: what `python -m scaling_runs bench` measured on one machine, as a JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from fit.errors import UserError
from models.flops import params, train_flops_per_token
from models.shapes import Shape
from scaling_runs.files import read_json, write_json

SCHEMA = 1
CPU, CUDA = "cpu", "cuda"


@dataclass(frozen=True)
class Setting:
    """What a row is a measurement of."""

    shape: Shape
    seq_len: int
    batch: int
    """Sequences of a step on one device."""
    precision: str
    compile: bool
    devices: int
    """Devices that train side by side while it is measured, a model of its own on each."""
    threads: int
    """Of a CPU, a device."""
    optimizer: str

    @property
    def batch_tokens(self) -> int:
        return self.batch * self.seq_len

    @property
    def params(self) -> int:
        """All, embeddings included."""
        return params(self.shape, self.seq_len, "all")

    @property
    def flops_per_token(self) -> int:
        return train_flops_per_token(self.shape, self.seq_len, "exact")


@dataclass(frozen=True)
class Row:
    setting: Setting
    step_s: float
    """Of one step, on each device."""
    eval_token_s: float
    """Of an evaluated token, on each device."""
    memory_bytes: float | None
    """On each device: of a GPU what its allocator held at most, of a CPU what the process grew by; None: unknown."""
    joules_per_token: float | None
    """Of all devices, and on a CPU of whatever else its package does; None where the machine does not tell."""

    @property
    def tokens_per_s(self) -> float:
        """Of all devices together."""
        return self.setting.devices * self.setting.batch_tokens / self.step_s

    @property
    def flops_per_s(self) -> float:
        """Of one device."""
        return self.setting.batch_tokens * self.setting.flops_per_token / self.step_s


@dataclass(frozen=True)
class Profile:
    machine: str
    """The GPU's name, or the processor's."""
    device: str
    """cpu or cuda."""
    devices: int
    """Cells that the machine trains side by side: GPUs, or cores."""
    memory_bytes: float | None
    """Of a GPU; None for a CPU, which its cells share."""
    torch: str
    code: str
    """Of what was timed and of the processor: rows of other code, or another machine, are not mixed with these."""
    peak_flops_per_s: dict[str, float]
    """Of one device, by precision."""
    start_s: float | None
    """From the launch of a sweep's cells to the first step of the first, workers' imports included, and from the end of
    the last to that of the launcher; None where no sweep was timed."""
    beside_s: float | None
    """Of each cell beside its steps and evaluations: its options, its model, its files."""
    rows: tuple[Row, ...]
    left_out: tuple[str, ...] = ()
    """What does not apply to this machine, or could not be measured, and why."""

    def mfu(self, row: Row) -> float:
        """Share of the peak in the row's precision."""
        return row.flops_per_s / self.peak_flops_per_s[row.setting.precision]

    def with_row(self, row: Row) -> Profile:
        """`row` in place of an earlier measurement of the same."""
        others = tuple(one for one in self.rows if one.setting != row.setting)
        return replace(self, rows=(*others, row))


def write_profile(path: Path, profile: Profile) -> None:
    rows = sorted(profile.rows, key=lambda row: _order(row.setting))
    write_json(path, {"schema": SCHEMA, **asdict(replace(profile, rows=tuple(rows)))})


def _order(setting: Setting) -> tuple[Any, ...]:
    return (
        setting.params,
        setting.batch,
        setting.precision,
        setting.compile,
        setting.devices,
        str(setting),
    )


def named_profile(hardware: str | None) -> Profile | None:
    """Of `hardware=` where that is a profile's path; None where it is a card's name. UserError as `read_profile`."""
    if hardware is None or not (hardware.endswith(".json") or "/" in hardware):
        return None
    return read_profile(Path(hardware))


def read_profile(path: Path) -> Profile:
    """UserError where there is none, or `path` holds something else."""
    make_one = "make one by python -m scaling_runs bench"
    if not path.is_file():
        raise UserError(f"profile '{path}' is not there; {make_one} profile={path}")
    try:
        held = read_json(path)
    except UserError:
        raise UserError(f"'{path}' is no profile of a machine, for it is no JSON; {make_one}") from None
    if not isinstance(held, dict) or held.get("schema") != SCHEMA or "rows" not in held:
        raise UserError(f"'{path}' is no profile of a machine (schema {SCHEMA}, with rows); {make_one}")
    try:
        return _profile(held)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"'{path}' is a damaged profile ({error}); {make_one}") from None


def _profile(held: dict[str, Any]) -> Profile:
    rows = tuple(_row(row) for row in held["rows"])
    known = {item.name: held[item.name] for item in fields(Profile) if item.name not in ("rows", "left_out")}
    profile = Profile(**known, rows=rows, left_out=tuple(held["left_out"]))
    for row in rows:
        if not (row.step_s > 0 and row.eval_token_s > 0 and profile.mfu(row) > 0):
            raise ValueError(f"a step of {row.setting.shape.name} takes {row.step_s} s")
    return profile


def _row(held: dict[str, Any]) -> Row:
    setting = held["setting"]
    return Row(**{**held, "setting": Setting(**{**setting, "shape": Shape(**setting["shape"])})})


def shapes_of(rows: Sequence[Row]) -> list[str]:
    """Names, smallest first, each once."""
    named = {row.setting.shape.name: row.setting.params for row in rows}
    return sorted(named, key=lambda name: named[name])
