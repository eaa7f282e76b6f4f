"""What a bench measures: the options of its command line, and the rows that follow from them."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fit.errors import UserError
from models.flops import params
from models.shapes import Ladder, Shape
from scaling_runs.bench.profile import CPU, CUDA, Setting
from scaling_runs.config import Config, register, typed
from scaling_runs.data.config import BYTES
from scaling_runs.data.tokens import BYTE_SEPARATOR
from scaling_runs.plan import CorpusSize, plan_sweep
from scaling_runs.recipe import resolve
from scaling_runs.spec import CellSpec
from scaling_runs.usage import refuse_misread, sentence

CONFIGS = Path(__file__).parents[2] / "configs"
DEFAULT_SWEEP = "isoflop_small"
PROFILE = "bench.json"
"""In the folder of prepared data, where the plans of this machine find it."""
OWN = ("shape", "batch", "precision", "compile", "devices", "profile")
OF_LAUNCH = ("sweep", "model", "recipe", "data", "threads")
"""Options that mean what they mean to launch.py."""
DEFAULT_SHAPES = 4
BEYOND_BATCH = 4
"""Times the largest batch that is planned: whether more would be gained by a larger one."""
STEPS = 1000
"""Of the schedule of a timed cell, of which it takes a few."""
USAGE = (
    "usage: python -m scaling_runs bench [shape=W,…] [batch=SEQUENCES,…] [precision=fp32,bf16] [compile=true,false] "
    "[devices=N,…] [profile=PATH] [sweep=NAME] [model=NAME] [recipe=NAME] [threads=N], or bench compare A B …"
)
T = TypeVar("T")
NAME = re.compile(r"(?:d(?P<d>\d+)-)?w(?P<w>\d+)(?:-d(?P<depth>\d+))?(?:-h(?P<heads>\d+))?")


@dataclass(frozen=True)
class Asked:
    """What the command line says; None where it leaves it open."""

    config: Config
    shapes: tuple[str, ...] | None
    batches: tuple[int, ...] | None
    precisions: tuple[str, ...]
    compile: tuple[bool, ...]
    devices: tuple[int, ...] | None
    profile: Path
    data_options: tuple[str, ...]
    """As they were given."""


def read_options(arguments: Sequence[str]) -> Asked:
    """UserError names what can't be read, and what could be."""
    own: dict[str, list[str]] = {}
    of_launch = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not value:
            raise UserError(f"'{argument}' can't be read; {USAGE}")
        if name in OWN:
            own[name] = [value] if name == "profile" else _items(argument, value)
        elif name.partition(".")[0] in OF_LAUNCH:
            of_launch.append(argument)
        else:
            near = difflib.get_close_matches(name, (*OWN, *OF_LAUNCH), 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UserError(f"'{name}' is no option of bench; {hint}options: {', '.join((*OWN, *OF_LAUNCH))}")
    config = _composed(of_launch)
    return Asked(
        config,
        tuple(own["shape"]) if "shape" in own else None,
        _each("batch", own, _number),
        _each("precision", own, _one_of("fp32", "bf16")) or ("fp32", "bf16"),
        tuple(one == "true" for one in _each("compile", own, _one_of("true", "false")) or ("true", "false")),
        _each("devices", own, _number),
        Path(own["profile"][0]) if "profile" in own else Path(config.data.cache_dir) / PROFILE,
        tuple(option for option in of_launch if option.startswith("data")),
    )


def _items(argument: str, value: str) -> list[str]:
    """`a`, `a,b` or `[a,b]`, each once."""
    items = [item.strip() for item in value.removeprefix("[").removesuffix("]").split(",")]
    if not all(items):
        raise UserError(
            f"'{argument}' can't be read; write several values as in {argument.partition('=')[0]}=1,2"
        )
    return list(dict.fromkeys(items))


def _each(name: str, own: dict[str, list[str]], read: Callable[[str, str], T]) -> tuple[T, ...] | None:
    return tuple(read(name, item) for item in own[name]) if name in own else None


def _number(name: str, item: str) -> int:
    if not item.isascii() or not item.isdigit() or not 1 <= int(item) <= 10**6:
        raise UserError(
            f"{name} is '{item}'; it must be a whole number from 1 to 1,000,000, such as {name}=8"
        )
    return int(item)


def _one_of(*legal: str) -> Callable[[str, str], str]:
    def read(name: str, item: str) -> str:
        if item not in legal:
            raise UserError(f"{name} is '{item}'; choose {' or '.join(legal)}")
        return item

    return read


def _composed(options: list[str]) -> Config:
    """As launch.py composes its config; with a sweep, for that says which sizes and batches there are."""
    if not any(option.startswith("sweep=") for option in options):
        options = [f"sweep={DEFAULT_SWEEP}", *options]
    refuse_misread(options)
    register()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return typed(compose("config", overrides=options))
    except (UserError, HydraException, OmegaConfBaseException) as error:
        raise UserError(sentence(error)) from None


@dataclass(frozen=True)
class Machine:
    """As far as it decides which rows there are."""

    device: str
    devices: int


def settings_of(asked: Asked, machine: Machine) -> tuple[list[Setting], list[str]]:
    """Rows to measure, those of a shape together, and what of the asked does not apply here and why.

    UserError where a shape is none of the model's ladder, or nothing is left to measure.
    """
    shapes, batches = _shapes_and_batches(asked)
    left_out = []
    compiles, devices = list(asked.compile), list(asked.devices or _counts(machine.devices))
    if machine.device == CPU and True in compiles:
        compiles.remove(True)
        left_out.append(
            "compile=true: a step on a CPU is native code, or eager, and torch.compile is no part of it"
        )
    if too_many := [count for count in devices if count > machine.devices]:
        devices = [count for count in devices if count <= machine.devices]
        what = "GPU" if machine.device == CUDA else "core"
        left_out += [f"devices={count}: there are {machine.devices} {what}s here" for count in too_many]
    if not compiles or not devices:
        raise UserError(f"nothing is left to measure: {'; '.join(left_out)}")
    rows = itertools.product(shapes, batches, asked.precisions, compiles, devices)
    return [
        Setting(
            shape,
            asked.config.model.seq_len,
            batch,
            precision,
            compiled,
            count,
            asked.config.threads if machine.device == CPU else 1,
            asked.config.recipe.optimizer,
        )
        for shape, batch, precision, compiled, count in rows
    ], left_out


def _counts(devices: int) -> list[int]:
    """1, 2, 4 … and all."""
    return sorted({2**power for power in range(devices.bit_length()) if 2**power <= devices} | {devices})


def _shapes_and_batches(asked: Asked) -> tuple[list[Shape], list[int]]:
    """Those that are named, or the ends of what the sweep plans, and shapes evenly between in log of their params."""
    config = asked.config
    ladder = config.model.ladder(_vocab_size(config))
    named = None if asked.shapes is None else [shape_of(name, ladder) for name in asked.shapes]
    if named is not None and asked.batches is not None:
        return named, list(asked.batches)
    assert config.sweep is not None
    cells = plan_sweep(config, CorpusSize("bench", ladder.vocab_size, 10**15), "fp32").cells
    shapes = sorted({cell.spec.shape for cell in cells}, key=lambda shape: shape.width)
    sizes = {shape: math.log(params(shape, config.model.seq_len, "all")) for shape in shapes}
    low, high = sizes[shapes[0]], sizes[shapes[-1]]
    places = [low + (high - low) * i / (DEFAULT_SHAPES - 1) for i in range(DEFAULT_SHAPES)]
    chosen = dict.fromkeys(min(shapes, key=lambda shape: abs(sizes[shape] - place)) for place in places)
    planned = sorted({cell.spec.recipe.batch_size for cell in cells})
    batches = asked.batches or tuple(dict.fromkeys((planned[0], planned[-1], BEYOND_BATCH * planned[-1])))
    return named or list(chosen), list(batches)


def _vocab_size(config: Config) -> int:
    if config.data.tokenizer == BYTES:
        return BYTE_SEPARATOR + 1
    if config.data.vocab_size is None:
        raise UserError(
            f"data.vocab_size is not set, and data.tokenizer is '{config.data.tokenizer}'; say how many tokens it has, "
            f"as in data.vocab_size=50257"
        )
    return config.data.vocab_size


def shape_of(name: str, ladder: Ladder) -> Shape:
    """The rung of a width, or of a name such as w64-d2-h2, d2-w64 or w64. UserError where it is none."""
    found = NAME.fullmatch(name if not name.isdigit() else f"w{name}")
    if found is None:
        raise UserError(
            f"shape is '{name}'; it must be a width or a shape's name, such as shape=64 or shape=w64-d2-h2"
        )
    try:
        shape = ladder.shape(int(found["w"]))
    except ValueError as error:
        raise UserError(str(error).replace("model.width", "shape")) from None
    for letter, wanted, here in (
        ("d", found["d"] or found["depth"], shape.depth),
        ("h", found["heads"], shape.heads),
    ):
        if wanted is not None and int(wanted) != here:
            raise UserError(
                f"shape is '{name}', and the ladder's of that width is {shape.name}; give that, or change the ladder "
                f"by model.{'min_depth' if letter == 'd' else 'heads'}="
            )
    return shape


def spec_of(setting: Setting, config: Config) -> CellSpec:
    """A cell whose steps are those of the row."""
    recipe = resolve(
        config.recipe,
        params=params(setting.shape, setting.seq_len, "no_embedding"),
        batch=setting.batch,
        seq_len=setting.seq_len,
        steps=STEPS,
    )
    return CellSpec(
        shape=setting.shape,
        seq_len=setting.seq_len,
        steps=STEPS,
        recipe=recipe,
        seed=0,
        corpus="bench",
        val_tokens=setting.seq_len,
        flop_convention="exact",
        precision=setting.precision,  # type: ignore[arg-type]  # checked where it is read
    )
