"""What a user can set: the dataclasses behind `configs/`. A misspelt key or a wrong type fails at composition."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from fit.errors import UserError
from models.flops import FLOP_CONVENTIONS
from models.shapes import FAMILIES, ROPE_THETA, Ladder
from scaling_runs.data import DataConfig
from scaling_runs.grid import SweepConfig, require_positive
from scaling_runs.recipe import RecipeConfig
from scaling_runs.usage import choices

MIN_ASPECT = 0.01
MAX_MLP_RATIO = 1000.0
MAX_COUNT = 10_000_000
"""Of anything that a model has several of, and of its width."""
MAX_THREADS_A_CORE = 16
RANKS = ("auto", "together", "apart")
SHARDING = ("auto", "never", "always")
KEEP_MODELS = ("none", "best", "all")
MAX_GPUS = 1_000_000


@dataclass
class ModelConfig:
    """A ladder of shapes (`models/shapes.py` says what each number means)."""

    name: str = MISSING
    """What the ladder is called."""
    family: str = "llama"
    """llama: RMS norms, SwiGLU, rotary positions; gpt2: layer norms, GELU, learned positions."""
    width: int | None = None
    """The one size to train with `budget=`; a sweep chooses its own."""
    head_width: int | None = None
    """Every rung has heads of this width; set this or `heads`."""
    heads: int | None = None
    """Every rung has this many heads."""
    width_step: int | None = None
    """Width between rungs; by default `head_width`."""
    aspect: float = 64.0
    """Width over depth, where depth is above its minimum."""
    min_depth: int = 4
    """Layers of the smallest rungs."""
    mlp_ratio: float = 3.0
    """Width of the MLP over that of the model."""
    kv_heads: int | None = None
    """Key-value heads that all heads share, where set; else one a head."""
    tied: bool = False
    """The output head is the input embedding transposed."""
    rope_theta: float = ROPE_THETA
    """Base of the rotary positions, of a Llama."""
    seq_len: int = 128
    """Tokens of a window."""

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
        require_positive("model", aspect=self.aspect, mlp_ratio=self.mlp_ratio)
        if self.aspect < MIN_ASPECT:
            raise UserError(
                f"model.aspect is {self.aspect}; it must be at least {MIN_ASPECT}, width over depth, such as 64"
            )
        if self.mlp_ratio > MAX_MLP_RATIO:
            raise UserError(
                f"model.mlp_ratio is {self.mlp_ratio}; it must be at most {MAX_MLP_RATIO:g}, such as 3.5"
            )
        for name in ("width", "head_width", "heads", "width_step", "min_depth", "kv_heads", "seq_len"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_COUNT:
                raise UserError(f"model.{name} is {value}; it must be 1 to {MAX_COUNT:,}")

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
class TrackingConfig:
    mode: str = "offline"
    """W&B: offline, online or off."""
    project: str = "isoflop"
    """W&B's project."""
    entity: str | None = None
    """W&B's user or team; by default its own."""
    log_models: bool = False
    """Upload what keep_models keeps of a sweep, an artifact a model."""

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online", "off"):
            raise UserError(f"tracking.mode is '{self.mode}'; choose one of offline, online, off")


@dataclass
class Config:
    """All of it. Either `sweep=NAME`, or `budget=FLOPS model.width=W` for one cell."""

    sweep: SweepConfig | None = None
    """A grid of cells: `configs/sweep/`."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """A ladder of shapes: `configs/model/`."""
    data: DataConfig = field(default_factory=DataConfig)
    """A corpus: `configs/data/`."""
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    """Learning rate, batch, schedule, optimiser: `configs/recipe/`."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """W&B: `configs/tracking/`."""
    budget: float | None = None
    """FLOPs of one cell."""
    seed: int = 0
    """Of one cell: its weights and the order of its batches."""
    cell: str | None = None
    """Train this cell of the store, by its id: how a sweep starts its cells."""
    flops: str = "exact"
    """The convention that budgets are spent under."""
    precision: str | None = None
    """fp32 or bf16; by default bf16 on a GPU, and on a CPU where a plan takes 1/1.5 of the time in it or less."""
    val_tokens: int = 262_144
    """Tokens that each cell's final loss is measured on."""
    threads: int = 1
    """CPU threads of a cell."""
    sharding: str = "auto"
    """Under torchrun: auto, where a cell fits no device whole; never; always."""
    ranks: str = "auto"
    """Under torchrun: together on each cell; apart, a cell a rank; auto, whichever ends sooner, cell by cell."""
    hardware: str | None = None
    """Plan for a cluster of this GPU, or for the machine of a profile (PATH.json), rather than for this one."""
    gpus: int = 1
    """GPUs of that cluster."""
    gpu_hour_price: float | None = None
    """US dollars an hour of one of them; by default that of `fit/gpus.yaml`, where that has one."""
    keep_models: str = "none"
    """Final models to keep, as transformers folders: none; best, the lowest loss of each budget; all."""
    store: str = "results"
    """Where cells and sweeps are kept."""
    dry_run: bool = False
    """Print the plan, its cost and what is wrong with it; train nothing."""
    detach: bool = False
    """Submit a sweep's cells to the launcher's cluster and return; the same command without it concludes the sweep."""
    audit: bool = False
    """After a sweep, train some of its cells again with learning rates and batch off by 2x: how far would the exponent
    move?"""

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
        if not 1 <= self.gpus <= MAX_GPUS:
            raise UserError(f"gpus is {self.gpus}; it must be 1 to {MAX_GPUS:,}, such as 8")
        self._refuse_options_of_a_cluster()
        if self.sharding not in SHARDING:
            raise UserError(f"sharding is '{self.sharding}'; choose one of {', '.join(SHARDING)}")
        self._refuse_keeping_of_nothing()
        if self.ranks not in RANKS:
            raise UserError(f"ranks is '{self.ranks}'; choose one of {', '.join(RANKS)}")
        if self.threads < 1:
            raise UserError(f"threads is {self.threads}; it must be at least 1")
        most = MAX_THREADS_A_CORE * (os.cpu_count() or 1)
        if self.threads > most:
            raise UserError(
                f"threads is {self.threads}; it must be at most {most} on this machine of {os.cpu_count()} cores, and "
                f"more than a core each is of no use"
            )
        if self.budget is not None and not (self.budget > 0 and math.isfinite(self.budget)):
            raise UserError(f"budget is {self.budget}; it must be a positive number of FLOPs, such as 1e12")
        if self.detach and self.sweep is not None and self.sweep.planner == "adaptive":
            raise UserError(
                "detach=true leaves a sweep whose next cells sweep.planner=adaptive has still to decide; leave one out"
            )
        if self.audit and self.sweep is None:
            raise UserError(
                "audit=true is for a sweep, and none is named; give sweep=NAME, or leave audit out"
            )
        if self.sweep is not None:
            self._refuse_options_of_one_cell(self.sweep.name)
        elif self.cell is not None:
            self._refuse_options_of_a_plan(self.cell)

    def _refuse_keeping_of_nothing(self) -> None:
        if self.keep_models not in KEEP_MODELS:
            raise UserError(f"keep_models is '{self.keep_models}'; choose one of {', '.join(KEEP_MODELS)}")
        if self.tracking.log_models and (self.keep_models == "none" or self.sweep is None):
            raise UserError(
                "tracking.log_models=true uploads the models that a sweep keeps; give sweep=NAME and keep_models=best "
                "or all, or leave it out"
            )

    def _refuse_options_of_a_cluster(self) -> None:
        """What is of no use without a named GPU, and a price that is none."""
        price = self.gpu_hour_price
        if price is not None and not (price >= 0 and math.isfinite(price)):
            raise UserError(f"gpu_hour_price is {price}; it must be US dollars an hour, such as 2.5")
        for option, value in (("gpus", self.gpus if self.gpus > 1 else None), ("gpu_hour_price", price)):
            if self.hardware is None and value is not None:
                raise UserError(
                    f"{option}={value:g} is of the cluster that hardware= names, and none is named; give "
                    f"hardware=h100, or leave it out, which for gpus is gpus=1"
                )

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

    def _refuse_options_of_a_plan(self, cell: str) -> None:
        """What the cell of a sweep, whose spec is in the store, would not heed."""
        for option, value in (
            ("budget", self.budget),
            ("model.width", self.model.width),
            ("seed", self.seed or None),
            ("dry_run", self.dry_run or None),
        ):
            if value is not None:
                shown = "true" if value is True else f"{value:g}"
                raise UserError(
                    f"{option}={shown} would not be heeded beside cell={cell}, which trains a cell of the store as "
                    f"its sweep planned it; leave one out"
                )


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
