"""Cells as Ray tasks, on a Ray that is started here or on a cluster.

Hydra's own plugin (hydra-ray-launcher 1.2.2) trains a small sweep on Ray 2.60, but is not used. As its source has it,
it hands over all jobs and asks for their results one by one: where a worker dies for good, that question raises at
once, and the sweep would start cells again that other workers still train. It asks for a GPU that no node has until
the end of time, composes every config before the first cell starts, and requires boto3 and a cloudpickle below 3.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fit.errors import UserError
from scaling_runs.launchers import cells_at_once

LOCAL = "local"
OBJECT_STORE_BYTES = 80 * 2**20
"""About the least that Ray takes: cells pass their results through the store, and nothing through Ray."""
ANSWERS_WITHIN_S = 10


@dataclass(frozen=True)
class RayOptions:
    """What hydra.launcher says."""

    address: str
    """`local` starts a Ray and stops it with the sweep; else a cluster: auto, HOST:PORT or ray://HOST:PORT."""
    n_jobs: int
    """Cells at once on a local Ray, as joblib counts them; a cluster's resources say how many it takes."""
    num_gpus: float | None
    """GPUs of a cell, 1 or a fraction; by default one where there are any."""

    def __post_init__(self) -> None:
        if not self.address:
            raise UserError(
                "hydra.launcher.address is empty; leave it out for a Ray on this machine, or name a cluster's"
            )
        if self.num_gpus is not None and not 0 <= self.num_gpus <= 1:
            raise UserError(
                f"hydra.launcher.num_gpus is {self.num_gpus:g}; a cell trains on one GPU or shares it: give 1, or a "
                f"fraction such as 0.5"
            )
        if importlib.util.find_spec("ray") is None:
            raise UserError(
                'hydra/launcher=ray needs Ray, which is not installed; install it with: pip install "ray>=2.50"'
            )


class RayCells:
    """Trains cells as tasks of one Ray, which stays up from the first launch of a sweep to its end."""

    def __init__(
        self, options: RayOptions, context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.options, self.context, self.task_function, self.config = options, context, task_function, config

    def train(self, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Train each cell, handed over in this order; how each ended.

        Raises where a worker died, once all others have ended: the sweep then launches what is left from its
        checkpoints. So Ray itself tries nothing again.
        """
        import ray
        from ray.exceptions import RayError

        with self._connected():
            threads = int(self.config.threads)
            gpus = gpus_a_cell(self.options, threads, [n["Resources"] for n in ray.nodes() if n["Alive"]])
            train_one = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(_train_one)
            shared = ray.put(
                (self.context, self.task_function, self.config, Singleton.get_state(), os.getcwd())
            )
            tasks = [train_one.remote(shared, list(overrides)) for overrides in job_overrides]
            returns, died = [], []
            for task in tasks:
                try:
                    error = ray.get(task)
                except RayError as gone:
                    died.append(gone)
                    continue
                status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
                returns.append(JobReturn(status=status, _return_value=error))
        if died:
            raise RuntimeError(str(died[0]).splitlines()[0]) from died[0]
        return returns

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Ray is up in the body, and after it until the process ends; at once gone where the body is interrupted."""
        import ray

        if not ray.is_initialized():
            _connect(self.options, int(self.config.threads))
        try:
            yield
        except BaseException:
            ray.shutdown()
            raise


def gpus_a_cell(options: RayOptions, threads: int, nodes: Sequence[dict[str, float]]) -> float:
    """What a task is to ask for. UserError where no node can give it, for such a task would wait for ever."""
    most_gpus = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
    gpus = (1.0 if most_gpus >= 1 else 0.0) if options.num_gpus is None else options.num_gpus
    if gpus > most_gpus:
        raise UserError(
            f"hydra.launcher.num_gpus is {gpus:g}, and no node of this Ray (address '{options.address}') has a GPU; "
            f"leave it out to train on CPUs, or name a cluster with GPUs by hydra.launcher.address"
        )
    if not any(node.get("CPU", 0.0) >= threads and node.get("GPU", 0.0) >= gpus for node in nodes):
        most_cpus = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
        raise UserError(
            f"threads is {threads}, and no node of this Ray (address '{options.address}') has as many CPUs"
            f"{' beside a GPU' * (gpus > 0)}, but {most_cpus:g} at most; lower threads"
        )
    return gpus


def _connect(options: RayOptions, threads: int) -> None:
    """Start a Ray, or join a cluster, without its words on the terminal and its hand on SIGTERM."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # or Ray warns of it
    import ray

    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if options.address == LOCAL:
        settings |= {
            "num_cpus": cells_at_once(DictConfig({"n_jobs": options.n_jobs})) * threads,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
    else:  # the nodes see this folder, as they see the store
        settings["runtime_env"] = {"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}}
    logging.getLogger("ray").setLevel(logging.ERROR)
    _require_answer(options.address)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=options.address, **settings)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_ray(options.address, " ".join(str(error).split())[:200]) from None
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)


def _require_answer(address: str) -> None:
    """UserError where nobody listens at HOST:PORT, for which Ray itself would look for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise _no_ray(address, str(error)) from None


def _no_ray(address: str, reason: str) -> UserError:
    return UserError(
        f"hydra.launcher.address is '{address}', where no Ray answers ({reason}); start one with 'ray start --head', "
        f"or leave the address out"
    )


def _train_one(
    shared: tuple[HydraContext, TaskFunction, DictConfig, dict[Any, Any], str], overrides: list[str]
) -> BaseException | None:
    """In a worker: one cell; what went wrong, in a form that can be sent."""
    context, task_function, config, singletons, folder = shared
    os.chdir(folder)
    setup_globals()
    Singleton.set_state(singletons)
    try:
        task_function(context.config_loader.load_sweep_config(config, overrides))
    except UserError as error:
        return error
    except Exception as error:
        return RuntimeError(str(error) or type(error).__name__)
    return None
