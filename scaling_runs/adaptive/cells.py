"""From what the planner asks for to cells: which sizes there are, what each costs, and the spec that trains it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from fit.errors import UserError
from models.flops import params, train_flops_per_token
from models.shapes import Shape
from scaling_runs.adaptive.decide import decide
from scaling_runs.adaptive.records import Request, Settings, Space
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.grid import EXPONENT_WIDTH, ROUND_CELLS, TARGET_WITHIN, SweepConfig
from scaling_runs.plan import CorpusSize, Plan, on_trunks, plan_cell
from scaling_runs.problems import MAX_EPOCHS, MIN_STEPS, cell_problems
from scaling_runs.recipe import batch_size
from scaling_runs.spec import Precision

FARTHEST = 1000.0
"""No guess of the optimum is off by more than this factor in params."""


@dataclass(frozen=True)
class Foundry:
    """Cells of one sweep, as they are asked for."""

    config: Config
    corpus: CorpusSize
    precision: Precision
    known: dict[float, dict[int, Shape]] = field(default_factory=dict, repr=False)
    """Shapes by budget and params, counted once."""

    @property
    def sweep(self) -> SweepConfig:
        assert self.config.sweep is not None
        return self.config.sweep

    def space(self, earlier: Iterable[Request] = ()) -> Space:
        """What the planner may choose from, after the rounds that asked for `earlier` cells."""
        states = self.states(earlier)

        def cost(request: Request) -> float:
            alone = Plan(self.sweep.name, (self.cell(request),), ())
            return on_trunks(alone, states).flops

        return Space(sizes=lambda budget: tuple(self.shapes(budget)), cost=cost)

    def states(self, earlier: Iterable[Request]) -> dict[str, set[int]]:
        """By trunk, the steps whose state finished cells have left: each the one before its own cooldown."""
        left: dict[str, set[int]] = defaultdict(set)
        for spec in (self.cell(request).spec for request in earlier):
            if spec.trunk_steps:
                left[spec.trunk_id].add(spec.trunk_steps)
        return left

    def cell(self, request: Request) -> Cell:
        shape = self.shapes(request.budget)[request.params]
        return plan_cell(self.config, shape, request.budget, request.seed, self.corpus, self.precision)

    def plan(self, requests: Iterable[Request], earlier: Iterable[Request] = ()) -> Plan:
        """The cells of `requests`, in their order, going on from what `earlier` ones left; what is wrong with them."""
        cells = tuple(map(self.cell, requests))
        problems = [problem for cell in cells for problem in cell_problems(cell)]
        return on_trunks(Plan(self.sweep.name, cells, tuple(problems)), self.states(earlier))

    def shapes(self, budget: float) -> dict[int, Shape]:
        """By params, ascending. UserError where `budget` trains none of the ladder's."""
        if budget not in self.known:
            self.known[budget] = self._trainable(budget)
        return self.known[budget]

    def _trainable(self, budget: float) -> dict[int, Shape]:
        """Rungs that `budget` trains for enough steps, on text that is not repeated too often."""
        seq_len = self.config.model.seq_len
        batch = batch_size(self.config.recipe, budget_flops=budget, seq_len=seq_len)
        most = min(self.sweep.max_params, FARTHEST * self.sweep.expected_optimum(budget))
        found: dict[int, Shape] = {}
        for rung in self.config.model.ladder(self.corpus.vocab_size).rungs():
            size = params(rung, seq_len, "no_embedding")
            flops_per_token = train_flops_per_token(rung, seq_len, self.config.flops)  # type: ignore[arg-type]
            steps = round(budget / (flops_per_token * batch * seq_len))
            if size > most or steps < MIN_STEPS:
                break
            if size >= self.sweep.min_params and self.corpus.epochs(budget / flops_per_token) <= MAX_EPOCHS:
                found[size] = rung
        if not found:
            raise UserError(
                f"no size can be trained at {budget:.3g} FLOPs for {MIN_STEPS} steps or more on at most "
                f"{MAX_EPOCHS:g} passes over the corpus, between sweep.min_params={self.sweep.min_params:.3g} and "
                f"{most:.3g}; change sweep.budgets, recipe.batch_tokens or the model's ladder"
            )
        return found


def settings_of(sweep: SweepConfig) -> Settings:
    """What a sweep's options ask of the planner."""
    return Settings(
        budgets=tuple(sorted(sweep.budgets)),
        expected_params=sweep.expected_params,
        expected_at_flops=sweep.expected_at_flops,
        expected_exponent=sweep.expected_exponent,
        span=sweep.span,
        sizes=sweep.sizes,
        round_cells=sweep.round_cells or ROUND_CELLS,
        max_flops=sweep.max_flops or sweep.sizes * sum(sweep.budgets),
        exponent_width=sweep.exponent_width or EXPONENT_WIDTH,
        target=sweep.target,
        target_within=sweep.target_within or TARGET_WITHIN,
    )


def plan_first_round(config: Config, corpus: CorpusSize, precision: Precision) -> Plan:
    """Before anything is known. UserError where no size can be trained at a budget."""
    foundry = Foundry(config, corpus, precision)
    space, settings = foundry.space(), settings_of(foundry.sweep)
    for budget in settings.budgets:
        foundry.shapes(budget)
    return foundry.plan(decide((), frozenset(), settings, space).requests)
