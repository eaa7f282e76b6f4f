"""What a sweep prints: its plan, what is wrong with it, and at the end the law beside Llama 3's."""

from __future__ import annotations

from fit.isoflop import IsoflopFit
from models.flops import params, train_flops_per_token
from scaling_runs.cell import Cell
from scaling_runs.config import Config
from scaling_runs.estimate import Cluster, Estimate
from scaling_runs.layout import Layout
from scaling_runs.numbers import count, dollars, duration, number
from scaling_runs.plan import Plan
from scaling_runs.planning import TimedPlan
from scaling_runs.ranks import rank
from scaling_runs.store import Store
from scaling_runs.tuned import as_tuned

CELL_HEADER = (
    f"{'shape':>14} {'params':>10} {'tokens':>10} {'FLOPs':>9} {'steps':>7} {'batch':>7} {'lr':>8} {'epochs':>7} "
    f"{'seed':>4} {'time':>7}"
)
CLUSTER_HEADER = f"{'GPUs':>5} {'GB each':>7} {'how':>9} {'cost':>8}"
WEIGHT_BYTES = 4
"""Of a parameter: masters are fp32 in any precision."""
SHOWN_OF_A_KIND = 7
"""Problems of one code at one budget: a sweep of thousands of cells may have thousands."""


def cell_header(estimate: Estimate) -> str:
    """Of a table of `cell_line`s."""
    on_cluster = [] if estimate.cluster is None else [CLUSTER_HEADER]
    return " ".join([CELL_HEADER, *on_cluster, " cell"])


def say(text: str) -> None:
    """Print, on rank 0."""
    if rank() == 0:
        print(text, flush=True)


def print_plan(timed: TimedPlan, config: Config) -> None:
    """Every cell, the totals, and what is wrong with the plan."""
    plan, estimate = timed.plan, timed.estimate
    store = Store.at(config.store)
    for budget in plan.budgets:
        say(f"\nbudget {budget:.3g} FLOPs\n{cell_header(estimate)}")
        for cell in (cell for cell in plan.cells if cell.budget == budget):
            say(cell_line(cell, estimate, store))
    say(f"\n{totals(timed)}")
    if estimate.cluster is not None:
        say(cluster_totals(estimate.cluster, estimate.total_s))
    say(
        f"params are without the input embedding; corpus of {count(timed.corpus.train_tokens)} tokens, vocabulary "
        f"{timed.corpus.vocab_size:,}, {timed.corpus.fingerprint[:16]}"
    )
    for line in mixture_lines(timed):
        say(line)
    for line in trunk_graph(plan):
        say(line)
    kept = disk_line(config, plan)
    if kept is not None:
        say(kept)
    print_problems(timed)


def disk_line(config: Config, plan: Plan) -> str | None:
    """What keep_models will take on the disk, for a dry run."""
    if config.keep_models == "none":
        return None
    sizes: dict[float, list[int]] = {}
    for cell in plan.cells:
        size = WEIGHT_BYTES * params(cell.spec.shape, cell.spec.seq_len, "all")
        sizes.setdefault(cell.budget, []).append(size)
    if config.keep_models == "all":
        return f"keep_models=all keeps {number(len(plan.cells), 'model')}: {count(sum(map(sum, sizes.values())))}B"
    return (
        f"keep_models=best keeps {number(len(sizes), 'model')}, the best of each budget: at most "
        f"{count(sum(map(max, sizes.values())))}B"
    )


def mixture_lines(timed: TimedPlan) -> list[str]:
    """Of a mixture, a line a part: its share, its size, and how often the longest cell passes over it."""
    parts = timed.corpus.parts
    longest = max((cell.spec.tokens for cell in timed.plan.cells), default=0)
    width = max((len(part.name) for part in parts), default=0)
    return [
        f"  {part.name:>{width}}  {part.share:>6.1%} of the tokens, {count(part.train_tokens)} there: "
        f"{part.epochs(longest):.2g} epochs of the longest cell"
        for part in parts
    ]


def trunk_graph(plan: Plan) -> list[str]:
    """A line a model: its trunk, the budgets whose cooldowns fork from it, and what that saves. Nothing without."""
    trunks = sorted(plan.trunks(), key=lambda cells: (cells[0].params, cells[0].spec.seed))
    if not trunks:
        return []
    saved = 1 - plan.flops / plan.flops_without_trunks
    names = [f"{cells[0].spec.shape.name}, seed {cells[0].spec.seed}" for cells in trunks]
    width = max(map(len, names))
    title = (
        f"\ntrunks: each model is trained once, to the last budget of its line, and at each + the cooldown of another "
        f"budget forks; {plan.flops:.3g} FLOPs, {saved:.0%} less than the {plan.flops_without_trunks:.3g} of all cells "
        f"from nothing"
    )
    lines = [title]
    for name, cells in zip(names, trunks, strict=True):
        ends = [f"{cell.budget:.3g}" for cell in reversed(cells)]
        lines.append(f"  {name:>{width}}  " + "".join(f"--+ {end} " for end in ends[:-1]) + f"--> {ends[-1]}")
    return lines


def cell_line(cell: Cell, estimate: Estimate, store: Store) -> str:
    """A cell under `cell_header`."""
    spec = cell.spec
    done = " (done)" if store.cell(cell.cell_id).result() is not None else ""
    line = (
        f"{spec.shape.name:>14} {count(cell.params):>10} {count(spec.tokens):>10} {spec.flops:>9.3g} "
        f"{spec.steps:>7} {count(spec.batch_tokens):>7} {spec.recipe.muon_lr or spec.recipe.lr:>8.2g} "
        f"{cell.epochs:>7.2g} {spec.seed:>4} {duration(estimate.cell_s[cell.cell_id]):>7}"
    )
    if estimate.cluster is not None:
        line += " " + on_cluster(estimate.cluster.layouts[cell.cell_id], estimate.cluster.hour_price)
    return f"{line}  {cell.cell_id}{done}"


def on_cluster(layout: Layout, hour_price: float | None) -> str:
    """A cell's GPUs under CLUSTER_HEADER, as the line of `cluster_totals` explains it."""
    how = "s" * layout.sharded + "c" * layout.checkpointing + f" {layout.accumulation}x{layout.micro_batch}"
    memory = f"{layout.memory_bytes / 1e9:.1f}" + "!" * bool(layout.lacks)
    cost = "-" if hour_price is None else dollars(layout.gpu_hours * hour_price)
    return f"{layout.gpus:>5} {memory:>7} {how.strip():>9} {cost:>8}"


def cluster_totals(cluster: Cluster, total_s: float) -> str:
    """What a plan takes of its cluster."""
    busy = cluster.gpu_hours * 3600 / (cluster.gpus * total_s)
    price, cost = cluster.hour_price, cluster.cost
    money, idle = "whose price an hour is not known: gpu_hour_price=2.5, say", ""
    if price is not None and cost is not None:
        money = f"{dollars(cost)} at ${price:.2f} an hour"
        idle = f" (at idle GPUs' price too: {dollars(cluster.gpus * total_s / 3600 * price)})"
    return (
        f"{cluster.gpu_hours:,.0f} GPU-hours of {cluster.hardware}, {money}; {duration(total_s)} of all "
        f"{cluster.gpus} GPUs, which are busy {busy:.0%} of it{idle}\n"
        f"how: s sharded, c with activation checkpointing, AxB: A micro-batches of B sequences a step on each GPU; "
        f"GB at the peak of a step, of which a tenth more is left free"
    )


def totals(timed: TimedPlan) -> str:
    """One line: cells, FLOPs, time."""
    plan, estimate = timed.plan, timed.estimate
    six_nd = sum(
        cell.trained_tokens * train_flops_per_token(cell.spec.shape, cell.spec.seq_len, "6nd")
        for cell in plan.cells
    )
    return (
        f"{number(len(plan.cells), 'cell')}, {plan.flops:.3g} FLOPs ({six_nd:.3g} by 6ND), "
        f"about {duration(estimate.total_s)} ({estimate.basis})"
    )


def print_problems(timed: TimedPlan) -> None:
    problems = timed.plan.problems
    say(f"\n{number(len(problems), 'problem')} with this plan" + (":" if problems else ""))
    kinds: dict[tuple[str, float], list[str]] = {}
    for problem in problems:
        kinds.setdefault((problem.code, problem.budget), []).append(problem.text)
    for (code, budget), texts in kinds.items():
        for text in texts[:SHOWN_OF_A_KIND]:
            say(f"  {code} at {budget:.3g} FLOPs: {text}")
        if len(texts) > SHOWN_OF_A_KIND:
            say(f"  {code} at {budget:.3g} FLOPs: {len(texts) - SHOWN_OF_A_KIND} more like these")


def what_differs(config: Config, plan: Plan, fit: IsoflopFit) -> str:
    """Why these laws need not agree with Llama 3's: what is different here."""
    largest = max(plan.cells, key=lambda cell: cell.params)
    spec = largest.spec
    sizes = f"{count(min(cell.params for cell in plan.cells))} to {count(largest.params)}"
    differences = {
        "compute": f"{plan.budgets[0]:.2g} to {plan.budgets[-1]:.2g} FLOPs, where Llama 3 spent 6e18 to 1e22",
        "models": f"{sizes} parameters at depth {spec.shape.depth}, where attention and logits still weigh",
        "text": f"{config.data.kind}, a vocabulary of {spec.shape.vocab_size:,} and windows of {spec.seq_len} tokens; "
        f"theirs is web text, 128,256 and 8,192",
        "FLOPs": f"convention '{spec.flop_convention}'; they do not say which they used",
        "recipe": f"{spec.recipe.optimizer}, batches of {count(spec.batch_tokens)} tokens at the top"
        f"{', tuned at these sizes (docs/recipe.md)' * as_tuned(config)}; a recipe moves the exponent",
    }
    lines = [f"  {what}: {how}" for what, how in differences.items()]
    lines.insert(0, "These numbers need not agree with Llama 3's. Different here:")
    return "\n".join(lines)
