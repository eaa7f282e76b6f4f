"""`launch.py` in a process of its own that has its libraries loaded, which saves the seconds that each start costs.

Forked, for each command, from a server that has imported torch, transformers and others, and nothing of this project.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

LIBRARIES = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "hydra",
    "pandas",
    "scipy.optimize",
    "matplotlib.pyplot",
)
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(LIBRARIES))


def run_warm(
    program: Path, options: Sequence[str], cwd: Path, env: Mapping[str, str], patience_s: float
) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of `python program options`, without terminals.

    It is killed with its group after `patience_s`.
    """
    with tempfile.TemporaryDirectory() as told:
        arguments = (str(program), list(options), str(cwd), dict(env), told)
        process = _server.Process(target=_run, args=arguments)
        process.start()
        process.join(patience_s)
        if process.is_alive():
            assert process.pid is not None
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
        assert process.exitcode is not None
        return process.exitcode, (Path(told) / "out").read_text(), (Path(told) / "err").read_text()


def _run(program: str, options: list[str], cwd: str, env: dict[str, str], told: str) -> None:
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for stream, name in ((1, "out"), (2, "err")):
        file = os.open(f"{told}/{name}", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream)
        os.close(file)
    sys.argv = [program, *options]
    sys.path[0] = str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")
