"""The experiment's entry: composes a config and hands it over.

    python launch.py sweep=isoflop_small                 the whole experiment
    python launch.py sweep=isoflop_small dry_run=true    its plan, and what is wrong with it
    python launch.py budget=1e12 model.width=64          one cell
    torchrun --nproc-per-node=2 launch.py sweep=...      each cell data-parallel

A sweep runs in `scaling_runs/sweeper.py`, which Hydra starts in place of `main` and which starts `main` once a cell.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

from scaling_runs.stopping import plain_interrupts, save_and_stop_when_asked, stop_as_by_ctrl_c

with plain_interrupts():  # what follows takes a second to load
    import hydra
    from omegaconf import DictConfig

    from scaling_runs.config import register, typed
    from scaling_runs.usage import (
        plain_errors,
        ranks_end_at_once,
        ranks_replace_launchers,
        refuse_misread,
    )

register()


@hydra.main(version_base="1.3", config_path="configs", config_name="config")
def main(config: DictConfig) -> None:
    """One job: the cell that a sweep names, or the one that budget= and model.width= describe."""
    with plain_errors() if config.sweep is None else nullcontext():  # a sweep hears of what its cells raise
        settings = typed(config)
        from scaling_runs.job import run_job  # loads torch, for which a misspelt option need not wait

        run_job(settings)


if __name__ == "__main__":
    with ranks_end_at_once(), plain_errors():
        stop_as_by_ctrl_c()
        save_and_stop_when_asked()
        refuse_misread(sys.argv[1:])
        ranks_replace_launchers()
        main()
