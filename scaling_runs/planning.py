"""The edge of planning: the corpus is found, the machine is timed, and the pure `plan.py` does the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fit.errors import UserError
from scaling_runs.adaptive.cells import plan_first_round
from scaling_runs.bench.profile import CUDA, named_profile
from scaling_runs.config import Config
from scaling_runs.data import Batches, validation_windows
from scaling_runs.data.config import BYTES, HUB
from scaling_runs.data.index import corpora_of, not_here
from scaling_runs.data.prepare import find_prepared, prepare
from scaling_runs.data.tokens import BYTE_SEPARATOR
from scaling_runs.estimate import Estimate, estimate_plan
from scaling_runs.launchers import ONE_BY_ONE, SideBySide
from scaling_runs.places import require_place
from scaling_runs.plan import CorpusSize, PartSize, Plan, plan_single, plan_sweep, require_law
from scaling_runs.precision import chosen_precision
from scaling_runs.problems import gpu_problems, require_room
from scaling_runs.ranks import PREPARING_TIMEOUT, by_rank_0
from scaling_runs.spec import Precision


@dataclass(frozen=True)
class TimedPlan:
    """A plan, the corpus that it is for, and how long it will take."""

    plan: Plan
    corpus: CorpusSize
    estimate: Estimate


def make_plan(config: Config, side_by_side: SideBySide = ONE_BY_ONE) -> TimedPlan:
    """The plan of a sweep, of its first round where it is adaptive, or of one cell; timed for cells `side_by_side`.

    UserError where no plan can be made, or its results not be kept.
    """
    by_rank_0(partial(require_place, config.store, writable=False))
    corpus = _corpus_size(config)
    plan = _planned(config, corpus, side_by_side)
    adaptive = config.sweep is not None and config.sweep.planner == "adaptive"
    if config.sweep is not None and not adaptive and not config.dry_run:
        require_law(plan)
    found = time_plan(plan, corpus, config, side_by_side)
    if not config.dry_run:
        by_rank_0(partial(require_place, config.store, writable=True))
    return found


def time_plan(plan: Plan, corpus: CorpusSize, config: Config, side_by_side: SideBySide) -> TimedPlan:
    """`plan` with rank 0's estimate of its time, for cells `side_by_side`, and of what its cluster lacks.

    UserError where that is memory, and not a dry run.
    """
    estimate = by_rank_0(lambda: estimate_plan(plan, config, side_by_side))
    if estimate.cluster is not None:
        lacking = gpu_problems(plan.cells, estimate.cluster.layouts)
        if not config.dry_run:
            require_room(lacking)
        plan = replace(plan, problems=(*plan.problems, *lacking))
    return TimedPlan(plan, corpus, estimate)


def _planned(config: Config, corpus: CorpusSize, side_by_side: SideBySide) -> Plan:
    """All cells in one precision: the one that is asked for, a GPU's bf16, or what suits this CPU."""
    adaptive = config.sweep is not None and config.sweep.planner == "adaptive"
    planner = plan_single if config.sweep is None else plan_first_round if adaptive else plan_sweep

    def plan_in(precision: Precision) -> Plan:
        return planner(config, corpus, precision)

    precision = config.precision or ("bf16" if _on_gpus(config.hardware) else None)
    if precision is None:
        precision = by_rank_0(lambda: chosen_precision(config, plan_in, side_by_side))
    return plan_in(precision)  # type: ignore[arg-type]  # checked in Config


def _on_gpus(hardware: str | None) -> bool:
    """Whether a plan for `hardware` is one for GPUs."""
    profile = named_profile(hardware)
    return hardware is not None and (profile is None or profile.device == CUDA)


def _corpus_size(config: Config) -> CorpusSize:
    """Of the prepared corpus; a dry run of a data set that is not here takes what its config declares."""
    if config.dry_run and any(source.kind == HUB for source in config.data.sources):
        corpus = find_prepared(config.data, config.val_tokens)
        if corpus is None:
            return _declared(config)
    else:
        by_rank_0(partial(_prepare, config), PREPARING_TIMEOUT)
        corpus = prepare(config.data, config.val_tokens)
    for one in [part.corpus for part in corpus.parts] or [corpus]:
        if one.stream is None:
            Batches(one, config.model.seq_len, 1, config.seed)  # is there a batch, and a validation set?
    validation_windows(corpus, config.model.seq_len, config.val_tokens)
    return CorpusSize.of(corpus)


def _prepare(config: Config) -> None:
    prepare(config.data, config.val_tokens)
    gone = not_here(config.data)
    if gone is not None:
        print(f"{str(gone).partition(';')[0]}: what was prepared of it before is used", flush=True)


def _declared(config: Config) -> CorpusSize:
    data = config.data
    # bytes have a vocabulary of their own, whatever that of the tokeniser which the config declares
    vocab_size = BYTE_SEPARATOR + 1 if data.tokenizer == BYTES else data.vocab_size
    sources = corpora_of(data)
    for number, source in enumerate(sources):
        if vocab_size is None or source.train_tokens is None:
            name = f"part '{data.parts[number].name}'" if data.parts else f"data set '{source.hf_path}'"
            raise UserError(
                f"{name} is not prepared in '{Path(data.cache_dir)}'; prepare it with python -m scaling_runs prepare "
                f"and the same options, or for a dry run without it declare data.vocab_size and "
                f"{'the train_tokens of each part' if data.parts else 'data.train_tokens'}"
            )
    assert vocab_size is not None
    sizes = [source.train_tokens or 0 for source in sources]
    parts = map(PartSize, (part.name for part in data.parts), data.shares, sizes)
    return CorpusSize("declared", vocab_size, sum(sizes), tuple(parts))
