"""Budgets x shapes -> cells, what they cost, and what is wrong with them. Pure: nothing is read, trained or written."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from fit.errors import UserError
from fit.valley import MIN_SIZES
from models.flops import params, train_flops_per_token
from models.shapes import Ladder, Shape
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.data import Corpus
from scaling_runs.grid import SweepConfig
from scaling_runs.problems import Problem, cell_problems, grid_problems
from scaling_runs.recipe import batch_size, resolve
from scaling_runs.spec import CellSpec, Precision

NO_STATES: Mapping[str, Collection[int]] = MappingProxyType({})
MAX_TOKENS = 1e16
"""A hundred times all the text that there is: past it something was mistyped."""


@dataclass(frozen=True)
class PartSize:
    """The same of a part of a mixture."""

    name: str
    share: float
    train_tokens: int

    def epochs(self, tokens: float) -> float:
        """Passes over it while the mixture is trained on for so many tokens."""
        return self.share * tokens / self.train_tokens


@dataclass(frozen=True)
class CorpusSize:
    """All that a plan needs to know of a corpus."""

    fingerprint: str
    vocab_size: int
    train_tokens: int
    parts: tuple[PartSize, ...] = ()
    """Of a mixture."""

    @classmethod
    def of(cls, corpus: Corpus) -> CorpusSize:
        parts = tuple(PartSize(part.name, part.share, part.corpus.train_tokens) for part in corpus.parts)
        return cls(corpus.fingerprint, corpus.vocab_size, corpus.train_tokens, parts)

    def epochs(self, tokens: float) -> float:
        """Passes of so many tokens: of a mixture, over the part that is repeated most."""
        if not self.parts:
            return tokens / self.train_tokens
        return max(part.epochs(tokens) for part in self.parts)

    def most_repeated(self) -> str:
        """What those passes are over, for a sentence."""
        if not self.parts:
            return "the corpus"
        return f"part '{max(self.parts, key=lambda part: part.epochs(1.0)).name}'"


@dataclass(frozen=True)
class Plan:
    name: str
    cells: tuple[Cell, ...]
    problems: tuple[Problem, ...]

    @property
    def budgets(self) -> list[float]:
        return sorted({cell.budget for cell in self.cells})

    @property
    def flops(self) -> float:
        """What is spent: a trunk once, however many cells it serves."""
        return float(sum(cell.trained_flops for cell in self.cells))

    @property
    def flops_without_trunks(self) -> float:
        """What the same cells would cost if each were trained from nothing."""
        return float(sum(cell.spec.flops for cell in self.cells))

    def trunks(self) -> list[list[Cell]]:
        """Cells that have a trunk in common, most steps first; the first of each trains the trunk for all."""
        by_trunk: dict[str, dict[str, Cell]] = defaultdict(dict)
        for cell in self.cells:  # close budgets may round to one cell
            if cell.spec.trunk_steps:
                by_trunk[cell.spec.trunk_id].setdefault(cell.cell_id, cell)
        return [sorted(cells.values(), key=lambda cell: -cell.spec.steps) for cells in by_trunk.values()]


def plan_sweep(config: Config, corpus: CorpusSize, precision: Precision) -> Plan:
    """Every cell of `config.sweep`. UserError where a budget cannot be spent on the grid it would need."""
    assert config.sweep is not None
    ladder = config.model.ladder(corpus.vocab_size)
    cells: list[Cell] = []
    problems: list[Problem] = []
    for budget in sorted(config.sweep.budgets):
        shapes = choose_shapes(
            ladder,
            config.model.seq_len,
            config.sweep,
            budget,
            shared=config.recipe.cooldown_fraction is not None,
        )
        of_budget = [
            plan_cell(config, shape, budget, seed, corpus, precision)
            for shape, seed in itertools.product(shapes, range(config.sweep.seeds_of(budget)))
        ]
        cells += of_budget
        problems += grid_problems(of_budget, config.sweep, budget)
        problems += [problem for cell in of_budget for problem in cell_problems(cell)]
    return on_trunks(Plan(config.sweep.name, tuple(cells), tuple(problems)))


def on_trunks(plan: Plan, states: Mapping[str, Collection[int]] = NO_STATES) -> Plan:
    """The plan with each cell told where it goes on from its trunk.

    states: by trunk, steps whose state is there already. The cell of most steps goes on from the last of them before
    its cooldown, and leaves a state where that of another is to begin; one whose cooldown begins before that of the
    states from which others go on has to find one of its own.
    """
    forks: dict[str, int] = {}
    for trunk in plan.trunks():
        there = states.get(trunk[0].spec.trunk_id, ())
        passed: list[range] = []
        for cell in trunk:
            end = cell.spec.trunk_steps
            if any(end in steps for steps in passed):
                forks[cell.cell_id] = end
                continue
            forks[cell.cell_id] = max((step for step in there if step <= end), default=0)
            passed.append(range(forks[cell.cell_id] + 1, end + 1))
    cells = (replace(cell, fork_steps=forks.get(cell.cell_id, 0)) for cell in plan.cells)
    return replace(plan, cells=tuple(cells))


def left_of(plan: Plan, finished: Collection[str], states: Mapping[str, Collection[int]]) -> Plan:
    """The cells that are not `finished`, as `states` of trunks let them go on; what is wrong with them stays said."""
    open_cells = tuple(cell for cell in plan.cells if cell.cell_id not in finished)
    return on_trunks(Plan(plan.name, open_cells, ()), states)


def together(specs: Iterable[CellSpec]) -> list[list[CellSpec]]:
    """Those of one trunk, which trained one after another never wait for each other; any other by itself."""
    groups: dict[str, list[CellSpec]] = defaultdict(list)
    for spec in specs:
        groups[spec.trunk_id if spec.trunk_steps else spec.cell_id].append(spec)
    return list(groups.values())


def launch_order(plan: Plan, cell_s: Mapping[str, float]) -> list[Cell]:
    """Whoever trains a trunk for others first, longest first, then those others in the order of their trunks.

    So a state is there when it is wanted, and the last cells to end are short ones.
    """
    longest_first = sorted(plan.cells, key=lambda cell: -cell_s[cell.cell_id])
    forks = {cell.cell_id for trunk in plan.trunks() for cell in trunk[1:]}
    place = {cell.spec.trunk_id: i for i, cell in enumerate(longest_first) if cell.cell_id not in forks}
    return sorted(
        longest_first,
        key=lambda cell: (cell.cell_id in forks, cell.cell_id in forks and place[cell.spec.trunk_id]),
    )


def require_law(plan: Plan) -> None:
    """UserError where even a perfect run of the plan leaves no two budgets to draw a law through."""
    lacking = {problem.budget for problem in plan.problems if problem.code == "too-few-sizes"}
    whole = len(plan.budgets) - len(lacking)
    if whole < 2:
        raise UserError(
            f"sweep '{plan.name}' has {MIN_SIZES} or more sizes at {whole} of its {len(plan.budgets)} budgets; a law "
            f"needs 2 such budgets: name more in sweep.budgets, or raise sweep.sizes"
        )


def plan_single(config: Config, corpus: CorpusSize, precision: Precision) -> Plan:
    """The plan of `budget=FLOPS model.width=W`: one cell."""
    if config.budget is None or config.model.width is None:
        raise UserError("nothing to train: give sweep=NAME, or both budget=FLOPS and model.width=WIDTH")
    try:
        shape = config.model.ladder(corpus.vocab_size).shape(config.model.width)
    except ValueError as error:
        raise UserError(str(error)) from None
    cell = plan_cell(config, shape, config.budget, config.seed, corpus, precision)
    return Plan("single", (cell,), tuple(cell_problems(cell)))


def plan_cell(
    config: Config, shape: Shape, budget: float, seed: int, corpus: CorpusSize, precision: Precision
) -> Cell:
    """`budget` FLOPs spent on `shape`: D is the budget over FLOPs a token, rounded to whole steps."""
    seq_len = config.model.seq_len
    batch = batch_size(config.recipe, budget_flops=budget, seq_len=seq_len)
    step_flops = batch * seq_len * train_flops_per_token(shape, seq_len, config.flops)  # type: ignore[arg-type]
    steps = round(budget / step_flops)
    if steps < 1:
        raise UserError(
            f"a budget of {budget:.3g} FLOPs is too small: one step of the {shape.name} shape costs "
            f"{step_flops:.3g}; raise the budget or lower recipe.batch_tokens"
        )
    if steps * batch * seq_len > MAX_TOKENS:
        raise UserError(
            f"a budget of {budget:.3g} FLOPs would train the {shape.name} shape on {steps * batch * seq_len:.3g} "
            f"tokens, more than {MAX_TOKENS:.0e}; lower the budget or choose a larger model"
        )
    recipe = resolve(
        config.recipe,
        params=params(shape, seq_len, "no_embedding"),
        batch=batch,
        seq_len=seq_len,
        steps=steps,
    )
    spec = CellSpec(
        shape=shape,
        seq_len=seq_len,
        steps=steps,
        recipe=recipe,
        seed=seed,
        corpus=corpus.fingerprint,
        val_tokens=config.val_tokens,
        flop_convention=config.flops,  # type: ignore[arg-type]  # checked in Config
        precision=precision,
    )
    return Cell(spec, budget, corpus.epochs(spec.tokens), repeated=corpus.most_repeated())


def choose_shapes(
    ladder: Ladder, seq_len: int, sweep: SweepConfig, budget: float, *, shared: bool = False
) -> list[Shape]:
    """`sweep.sizes` rungs, each the one nearest to its place on a grid even in log N, smallest first.

    With `shared`, the grids of all budgets have their places in common, so that one trunk serves several budgets: a
    grid is then centred to half of its spacing. Fewer where the ladder has fewer between `min_params` and `max_params`;
    UserError where it has none.
    """
    centre = sweep.nearest_place(budget) if shared else sweep.expected_optimum(budget)
    low = math.log(max(centre / sweep.span, sweep.min_params))
    high = math.log(min(centre * sweep.span, sweep.max_params))
    rungs = _rungs(ladder, seq_len, sweep, high) if low < high else {}
    if not rungs:
        raise UserError(
            f"no sizes are left at {budget:.3g} FLOPs: its optimum is expected at {centre:.3g} params, and "
            f"sweep.min_params and sweep.max_params allow {sweep.min_params:.3g} to {sweep.max_params:.3g}"
        )
    steps = max(1, sweep.sizes - 1)
    places = [low + (high - low) * i / steps for i in range(sweep.sizes)]
    chosen: list[Shape] = []
    for place in places[: len(rungs)]:
        free = (rung for rung in rungs if rung not in chosen)
        chosen.append(min(free, key=lambda rung: abs(math.log(rungs[rung]) - place)))
    return sorted(chosen, key=lambda rung: rung.width)


def _rungs(ladder: Ladder, seq_len: int, sweep: SweepConfig, up_to_log_params: float) -> dict[Shape, int]:
    """Params of each allowed rung, to just past `up_to_log_params` and to twice as many rungs as a grid needs."""
    rungs: dict[Shape, int] = {}
    for rung in ladder.rungs():
        size = params(rung, seq_len, "no_embedding")
        if size > sweep.max_params:
            break
        if size >= sweep.min_params:
            rungs[rung] = size
        if math.log(size) > up_to_log_params and len(rungs) >= 2 * sweep.sizes:
            break
    return rungs
