"""What accelerators can do and cost: the table `gpus.yaml`, and a user's own entries on top of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from fit.errors import UserError
from fit.text import one_line

TABLE = Path(__file__).with_name("gpus.yaml")
NO_SOURCE = "no source given"
PRECISIONS = ("bf16", "fp16", "fp8", "tf32", "fp32")
"""The first two, in this order, are what training runs in where nobody says."""


@dataclass(frozen=True)
class Gpu:
    """One card. `tflops`: dense peak by precision, in 1e12 FLOPs a second."""

    name: str
    tflops: Mapping[str, float]
    title: str = ""
    aliases: tuple[str, ...] = ()
    device: str | None = None
    """What torch's name of the device holds, in lower case."""
    memory_gb: float | None = None
    watts: float | None = None
    """Of the board at full power."""
    source: str = NO_SOURCE
    hour_price: float | None = None
    """US dollars an hour of one, on demand."""
    price_source: str = NO_SOURCE

    def precision(self, asked: str | None) -> str:
        """`asked`, or what it trains in. UserError where it has no such peak."""
        if asked is None:
            return next((one for one in PRECISIONS if one in self.tflops), next(iter(self.tflops)))
        if asked not in self.tflops:
            raise UserError(
                f"'{self.name}' has no peak in {asked}; choose one of {', '.join(self.tflops)}, or give --tflops"
            )
        return asked

    def peak_flops_per_s(self, precision: str) -> float:
        return self.tflops[precision] * 1e12


@cache
def known_gpus() -> Mapping[str, Gpu]:
    """The project's own table, by name."""
    return {name: _gpu(name, entry, TABLE) for name, entry in _entries(TABLE).items()}


def with_own(path: Path | None) -> Mapping[str, Gpu]:
    """The project's table, with the entries of a user's file over it. UserError names what is wrong with the file."""
    if path is None:
        return known_gpus()
    base, own = _entries(TABLE), _entries(path)
    return {**known_gpus(), **{name: _gpu(name, {**base.get(name, {}), **own[name]}, path) for name in own}}


def find_gpu(name: str, gpus: Mapping[str, Gpu], option: str = "--gpu") -> Gpu:
    """By its name or another that it goes by, in any case. UserError names those near it, or all."""
    wanted = name.casefold()
    names = {alias.casefold(): gpu for gpu in gpus.values() for alias in (*gpu.aliases, gpu.name)}
    if wanted in names:
        return names[wanted]
    near = list(dict.fromkeys(names[one].name for one in difflib.get_close_matches(wanted, names, 4)))
    hint = (
        f"did you mean {' or '.join(near)}? `python -m fit budget --list-gpus` has all"
        if near
        else f"choose one of {', '.join(gpus)}"
    )
    raise UserError(f"{option} '{name}' is unknown; {hint}")


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    """Name -> fields. UserError where `path` can't be read, or holds no such table."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"GPU table '{path}' can't be read: {error.strerror}; give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise UserError(
            f"GPU table '{path}' is no YAML{line}; write it as fit/gpus.yaml is written"
        ) from None
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"GPU table '{path}' holds no GPUs; write NAME: {{tflops: {{bf16: 312}}, hour_price: 1.3}}"
        )
    for name, entry in content.items():
        if not isinstance(entry, dict):
            raise UserError(f"GPU table '{path}': {one_line(str(name))} is no table of fields; write {_FORM}")
    return {str(name): entry for name, entry in content.items()}


_FORM = "NAME: {tflops: {bf16: 312}, hour_price: 1.3}"
LARGEST_NUMBER = 1e12
_NUMBERS = ("memory_gb", "watts", "hour_price")
_TEXTS = ("title", "source", "price_source", "device")


def _gpu(name: str, entry: Mapping[str, Any], path: Path) -> Gpu:
    """UserError where a field is unknown or no positive number."""
    known = [field.name for field in fields(Gpu) if field.name != "name"]
    for key in entry:
        if key not in known:
            raise UserError(f"GPU table '{path}': {name} has a field '{key}'; choose from {', '.join(known)}")
    tflops = entry.get("tflops")
    if not isinstance(tflops, dict) or not tflops or not set(tflops) <= set(PRECISIONS):
        raise UserError(
            f"GPU table '{path}': tflops of {name} is {one_line(str(tflops))}; give dense peaks by precision, of "
            f"{', '.join(PRECISIONS)}, such as {{bf16: 312}}"
        )
    numbers = {f"tflops.{precision}": value for precision, value in tflops.items()}
    numbers |= {key: entry[key] for key in _NUMBERS if entry.get(key) is not None}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LARGEST_NUMBER:
            raise UserError(
                f"GPU table '{path}': {key} of {name} is {one_line(str(value))}; it must be a positive number "
                f"up to {LARGEST_NUMBER:.0e}, written as 1000 or 1.0e+3"
            )
    aliases = entry.get("aliases") or []
    if not isinstance(aliases, list):
        raise UserError(
            f"GPU table '{path}': aliases of {name} are no list; write [{one_line(str(aliases))}]"
        )
    texts = {key: str(entry[key]) for key in _TEXTS if entry.get(key) is not None}
    return Gpu(
        name,
        dict(tflops),
        title=texts.get("title", name),
        aliases=tuple(map(str, aliases)),
        device=texts.get("device"),
        memory_gb=entry.get("memory_gb"),
        watts=entry.get("watts"),
        source=texts.get("source", NO_SOURCE),
        hour_price=entry.get("hour_price"),
        price_source=texts.get("price_source", NO_SOURCE),
    )
