"""What a user can set: the dataclasses behind `configs/`. A misspelt key or a wrong type fails at composition."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from fit.errors import UserError
from models.flops import FLOP_CONVENTIONS
from models.shapes import FAMILIES, ROPE_THETA, Ladder
from scaling_runs.data import DataConfig
from scaling_runs.recipe import RecipeConfig
from scaling_runs.usage import choices

MAX_SIZES = 1000
MAX_PARAMS = 1e14
"""Ten times what the largest known model has."""
FOLDER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
FOLDERS_OF_THE_STORE = ("cells", "locks")


@dataclass
class ModelConfig:
    """A ladder of shapes (`models/shapes.py` says what each number means)."""

    name: str = MISSING
    family: str = "llama"
    width: int | None = None
    """The one size to train with `budget=`; a sweep chooses its own."""
    head_width: int | None = None
    heads: int | None = None
    width_step: int | None = None
    aspect: float = 64.0
    min_depth: int = 4
    mlp_ratio: float = 3.0
    kv_heads: int | None = None
    tied: bool = False
    rope_theta: float = ROPE_THETA
    seq_len: int = 128

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise UserError(f"model.family is '{self.family}'; choose one of {', '.join(FAMILIES)}")
        if self.seq_len < 2:
            raise UserError(f"model.seq_len is {self.seq_len}; it must be at least 2")
        if self.kv_heads is not None and self.kv_heads < 1:
            raise UserError(
                f"model.kv_heads is {self.kv_heads}; it must be at least 1, or null for one a head"
            )
        if self.kv_heads is not None and self.family == "gpt2":
            raise UserError(
                "GPT-2 has no shared key-value heads; set model.kv_heads=null with model.family=gpt2"
            )
        _require_positive("model", aspect=self.aspect, mlp_ratio=self.mlp_ratio)

    def ladder(self, vocab_size: int) -> Ladder:
        try:
            return Ladder(
                family=self.family,  # type: ignore[arg-type]  # checked in __post_init__
                head_width=self.head_width,
                heads=self.heads,
                width_step=self.width_step,
                aspect=self.aspect,
                min_depth=self.min_depth,
                mlp_ratio=self.mlp_ratio,
                vocab_size=vocab_size,
                kv_heads=self.kv_heads,
                tied=self.tied,
                rope_theta=self.rope_theta,
            )
        except ValueError as error:
            raise UserError(str(error)) from None


@dataclass
class SweepConfig:
    """A grid of cells: sizes even in log N about the expected optimum of each budget."""

    name: str = MISSING
    budgets: list[float] = MISSING
    """FLOPs."""
    sizes: int = 7
    """Model sizes a budget."""
    span: float = 6.0
    """The grid reaches from the expected optimum divided by this to the optimum times this."""
    min_params: float = 0.0
    """No smaller size is planned, even where `span` would reach it."""
    max_params: float = math.inf
    """No larger size is planned."""
    seeds: list[int] = field(default_factory=lambda: [1])
    """Seeds of each size: one number for all budgets or one a budget."""
    expected_params: float = MISSING
    """Optimal parameters (without embedding) that are expected at `expected_at_flops`."""
    expected_at_flops: float = MISSING
    expected_exponent: float = 0.5
    """How that optimum is expected to grow with compute."""
    hardware: str | None = None
    """Plan the time for this GPU rather than for this machine."""
    gpus: int = 1

    def __post_init__(self) -> None:
        if self.budgets == MISSING or self.name == MISSING:
            return
        if not FOLDER_NAME.fullmatch(self.name) or self.name in FOLDERS_OF_THE_STORE:
            raise UserError(
                f"sweep.name is '{self.name}'; it names a folder: letters, digits, '_', '-' and, past the first, '.', "
                f"but not {' or '.join(FOLDERS_OF_THE_STORE)}, which the store has"
            )
        if not self.budgets:
            raise UserError("sweep.budgets is empty; give at least two budgets in FLOPs, such as [2e11,1e12]")
        for budget in self.budgets:
            if not (budget > 0 and math.isfinite(budget)):
                raise UserError(f"sweep.budgets holds {budget}; a budget is a positive number of FLOPs")
        if len(set(self.budgets)) < len(self.budgets):
            raise UserError(f"sweep.budgets names a budget twice: {list(self.budgets)}; give each once")
        if len(self.seeds) not in (1, len(self.budgets)) or min(self.seeds) < 1:
            raise UserError(
                f"sweep.seeds is {list(self.seeds)}; give one positive number, or one for each of the "
                f"{len(self.budgets)} budgets"
            )
        if not 1 <= self.sizes <= MAX_SIZES:
            raise UserError(f"sweep.sizes is {self.sizes}; it must be 1 to {MAX_SIZES}, such as 7")
        if self.gpus < 1:
            raise UserError(f"sweep.gpus is {self.gpus}; it must be at least 1")
        if not 1 < self.span < math.inf:
            raise UserError(f"sweep.span is {self.span}; it must be above 1, such as 6")
        if not math.isfinite(self.expected_exponent):
            raise UserError(
                f"sweep.expected_exponent is {self.expected_exponent}; it must be a number, such as 0.5"
            )
        expected = {"expected_params": self.expected_params, "expected_at_flops": self.expected_at_flops}
        _require_positive("sweep", **{name: value for name, value in expected.items() if value != MISSING})
        if MISSING not in expected.values():
            self._require_possible_sizes()
        if not 0 <= self.min_params < self.max_params:
            raise UserError(
                f"sweep.min_params is {self.min_params:g} and sweep.max_params {self.max_params:g}; the first must be "
                f"the smaller, and neither negative"
            )

    def _require_possible_sizes(self) -> None:
        """Before a ladder is climbed to where no model is."""
        for budget in self.budgets:
            optimum = self.expected_optimum(budget)
            if not min(optimum * self.span, self.max_params) <= MAX_PARAMS:
                raise UserError(
                    f"sweep.budgets holds {budget:g}, where the optimum is expected at {optimum:.3g} params, more than "
                    f"any model has; lower the budget, sweep.expected_params or sweep.expected_exponent"
                )

    def seeds_of(self, budget: float) -> int:
        return self.seeds[self.budgets.index(budget)] if len(self.seeds) > 1 else self.seeds[0]

    def expected_optimum(self, budget: float) -> float:
        """Parameters (without embedding) that are expected to be optimal at `budget` FLOPs."""
        return self.expected_params * (budget / self.expected_at_flops) ** self.expected_exponent


@dataclass
class TrackingConfig:
    mode: str = "offline"
    """W&B: offline, online or off."""
    project: str = "isoflop"
    entity: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online", "off"):
            raise UserError(f"tracking.mode is '{self.mode}'; choose one of offline, online, off")


@dataclass
class Config:
    """All of it. Either `sweep=NAME`, or `budget=FLOPS model.width=W` for one cell."""

    sweep: SweepConfig | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    budget: float | None = None
    """FLOPs of one cell."""
    seed: int = 0
    cell: str | None = None
    """Train this cell of the store, by its id: how a sweep starts its cells."""
    flops: str = "exact"
    """The convention that budgets are spent under."""
    precision: str | None = None
    """fp32 or bf16; by default bf16 on a GPU and fp32 on a CPU."""
    val_tokens: int = 262_144
    threads: int = 1
    """CPU threads of a cell."""
    store: str = "results"
    """Where cells and sweeps are kept."""
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.flops not in FLOP_CONVENTIONS:
            raise UserError(f"flops is '{self.flops}'; choose one of {', '.join(FLOP_CONVENTIONS)}")
        if self.precision not in (None, "fp32", "bf16"):
            raise UserError(f"precision is '{self.precision}'; choose fp32 or bf16")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed is {self.seed}; it must be a whole number from 0 up, below 2^63")
        if self.val_tokens < 1:
            raise UserError(
                f"val_tokens is {self.val_tokens}; it must be at least model.seq_len, such as 262144"
            )
        if not self.store:
            raise UserError("store is empty; name a folder, such as store=results")
        if self.threads < 1:
            raise UserError(f"threads is {self.threads}; it must be at least 1")
        if self.budget is not None and not (self.budget > 0 and math.isfinite(self.budget)):
            raise UserError(f"budget is {self.budget}; it must be a positive number of FLOPs, such as 1e12")
        if self.sweep is not None:
            self._refuse_options_of_one_cell(self.sweep.name)

    def _refuse_options_of_one_cell(self, sweep: str) -> None:
        """What a sweep would not heed."""
        for option, value, instead in (
            ("budget", self.budget, "sweep.budgets"),
            ("model.width", self.model.width, "sweep.sizes and sweep.span"),
            ("seed", self.seed or None, "sweep.seeds, a number of seeds"),
        ):
            if value is not None:
                raise UserError(
                    f"{option}={value:g} is for one cell, and sweep={sweep} chooses its own by {instead}; leave one "
                    f"out"
                )


def _require_positive(group: str, **values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise UserError(f"{group}.{name} is {value}; it must be a positive number")


def register() -> None:
    """Make the dataclasses known to Hydra; `configs/config.yaml` begins with `schema`."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("workers", _workers, replace=True)


def typed(config: DictConfig) -> Config:
    """The composed config as dataclasses, so that nothing past `launch.py` reads a raw dict.

    UserError names an option that is none, or a value that was left out.
    """
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    _refuse_added(own, Config, "")
    value = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), own))
    assert isinstance(value, Config)
    return value


def _refuse_added(group: DictConfig, schema: type[Any], prefix: str) -> None:
    """UserError for an option that no dataclass has, as `+name=value` can add."""
    names = [item.name for item in dataclasses.fields(schema)]
    for key in map(str, group):
        if key not in names:
            raise UserError(f"'{prefix}{key}' is not an option; {choices(f'{prefix}{key}')}")
        below = OmegaConf.get_type(group, key)
        if dataclasses.is_dataclass(below) and not OmegaConf.is_missing(group, key):
            _refuse_added(group[key], below, f"{prefix}{key}.")


def _workers() -> int:
    from scaling_runs.hardware import workers  # loads torch, which only a sweep needs

    return workers()
