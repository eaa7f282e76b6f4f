"""Budgets x shapes -> cells, what they cost, and what is wrong with them. Pure: nothing is read, trained or written."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from fit.errors import UserError
from fit.valley import MIN_SIZES
from models.flops import params, train_flops_per_token
from models.shapes import Ladder, Shape
from scaling_runs.config import Config, SweepConfig
from scaling_runs.data import Corpus
from scaling_runs.recipe import batch_size, resolve
from scaling_runs.spec import CellSpec, Precision

MIN_STEPS = 100
"""Fewer steps than this leave warm-up and decay no room, and the loss high for a reason that is not the size."""
MAX_EPOCHS = 4.0
"""Repeats up to here are nearly as good as new data (Muennighoff et al., arXiv 2305.16264)."""
MIN_REACH = 2.0
"""A grid that ends within 2x of the expected optimum, in params, will often have its minimum at the edge."""
MAX_ROUNDING = 0.02


@dataclass(frozen=True)
class CorpusSize:
    """All that a plan needs to know of a corpus."""

    fingerprint: str
    vocab_size: int
    train_tokens: int

    @classmethod
    def of(cls, corpus: Corpus) -> CorpusSize:
        return cls(corpus.fingerprint, corpus.vocab_size, corpus.train_tokens)


@dataclass(frozen=True)
class Cell:
    """One planned run."""

    spec: CellSpec
    budget: float
    """Nominal FLOPs; `spec.flops` is what whole steps spend."""
    epochs: float
    """Passes over the corpus."""

    @property
    def cell_id(self) -> str:
        return self.spec.cell_id

    @property
    def params(self) -> int:
        """Without the input embedding."""
        return params(self.spec.shape, self.spec.seq_len, "no_embedding")


@dataclass(frozen=True)
class Problem:
    """Something that will make the answer worse, found before anything is spent."""

    code: str
    text: str
    budget: float


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
        return float(sum(cell.spec.flops for cell in self.cells))


def plan_sweep(config: Config, corpus: CorpusSize, precision: Precision) -> Plan:
    """Every cell of `config.sweep`. UserError where a budget cannot be spent on the grid it would need."""
    assert config.sweep is not None
    ladder = config.model.ladder(corpus.vocab_size)
    cells: list[Cell] = []
    problems: list[Problem] = []
    for budget in sorted(config.sweep.budgets):
        shapes = choose_shapes(ladder, config.model.seq_len, config.sweep, budget)
        of_budget = [
            plan_cell(config, shape, budget, seed, corpus, precision)
            for shape, seed in itertools.product(shapes, range(config.sweep.seeds_of(budget)))
        ]
        cells += of_budget
        problems += grid_problems(of_budget, config.sweep.expected_optimum(budget), budget)
        problems += [problem for cell in of_budget for problem in cell_problems(cell)]
    return Plan(config.sweep.name, tuple(cells), tuple(problems))


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
    return Cell(spec, budget, spec.tokens / corpus.train_tokens)


def choose_shapes(ladder: Ladder, seq_len: int, sweep: SweepConfig, budget: float) -> list[Shape]:
    """`sweep.sizes` rungs, each the one nearest to its place on a grid even in log N, smallest first."""
    centre = sweep.expected_optimum(budget)
    low = math.log(max(centre / sweep.span, sweep.min_params))
    high = math.log(min(centre * sweep.span, sweep.max_params))
    if low >= high:
        raise UserError(
            f"no sizes are left at {budget:.3g} FLOPs: its optimum is expected at {centre:.3g} params, and "
            f"sweep.min_params and sweep.max_params allow {sweep.min_params:.3g} to {sweep.max_params:.3g}"
        )
    steps = max(1, sweep.sizes - 1)
    places = [low + (high - low) * i / steps for i in range(sweep.sizes)]
    chosen: dict[int, Shape] = {}
    for place in places:
        free = (rung for rung in _rungs(ladder, seq_len, places[-1], sweep.sizes) if rung.width not in chosen)
        nearest = min(free, key=lambda rung: abs(math.log(params(rung, seq_len, "no_embedding")) - place))
        chosen[nearest.width] = nearest
    return [chosen[width] for width in sorted(chosen)]


def _rungs(ladder: Ladder, seq_len: int, up_to_log_params: float, at_least: int) -> list[Shape]:
    """The ladder to just past `up_to_log_params`, and to twice as many rungs as a grid needs."""
    rungs: list[Shape] = []
    for rung in ladder.rungs():
        rungs.append(rung)
        past = math.log(params(rung, seq_len, "no_embedding")) > up_to_log_params
        if past and len(rungs) >= 2 * at_least:
            break
    return rungs


def grid_problems(cells: list[Cell], expected_optimum: float, budget: float) -> list[Problem]:
    """A budget whose grid is off-centre, or too small to fit a parabola to."""
    sizes = sorted({cell.params for cell in cells})
    problems = []
    if len(sizes) < MIN_SIZES:
        text = f"{len(sizes)} sizes; a parabola needs {MIN_SIZES}: raise sweep.sizes"
        problems.append(Problem("too-few-sizes", text, budget))
    below, above = expected_optimum / sizes[0], sizes[-1] / expected_optimum
    if min(below, above) < MIN_REACH:
        problems.append(
            Problem(
                "off-centre",
                f"the grid reaches {below:.2g}x below and {above:.2g}x above the expected optimum of "
                f"{expected_optimum:.3g} params: its minimum may lie at an edge; widen sweep.span, or give the model "
                f"ladder finer rungs",
                budget,
            )
        )
    return problems


def cell_problems(cell: Cell) -> list[Problem]:
    """A cell with too few steps, that repeats its data too often, or that rounding moves off its budget."""
    name, spec = cell.spec.shape.name, cell.spec
    problems = []
    if spec.steps < MIN_STEPS:
        problems.append(
            Problem(
                "few-steps",
                f"{name} takes {spec.steps} steps, fewer than {MIN_STEPS}: lower recipe.batch_tokens or leave it out",
                cell.budget,
            )
        )
    if cell.epochs > MAX_EPOCHS:
        problems.append(
            Problem(
                "repeated-data",
                f"{name} passes {cell.epochs:.1f} times over the corpus, more than {MAX_EPOCHS:g}: get more data or "
                f"leave it out",
                cell.budget,
            )
        )
    if abs(spec.flops / cell.budget - 1) > MAX_ROUNDING:
        problems.append(
            Problem(
                "rounding",
                f"{name} spends {spec.flops:.3g} FLOPs in whole steps, {spec.flops / cell.budget - 1:+.1%} off its "
                f"budget",
                cell.budget,
            )
        )
    return problems
