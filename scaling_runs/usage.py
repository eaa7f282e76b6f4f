"""What the terminal says when something is wrong: one sentence, and exit code 2 where the user can mend it."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import socket
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fit.errors import UserError
from scaling_runs.errors import RankLost, StoreLost, no_room
from scaling_runs.stopping import plain_interrupts

WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"
"""Read before `plain_errors` sets it."""
GROUPS = ("data", "model", "recipe", "sweep", "tracking")
PARTS = "data.parts"
"""A list of groups: what is said of it may be of an option of one."""
LISTS = ("data.paths", "sweep.budgets", "sweep.seeds")
KINDS = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false"}


def ranks_replace_launchers() -> None:
    """Under torchrun the ranks run the same sweep in step; a launcher of processes inside each would multiply them.

    UserError where one was asked for that trains elsewhere.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    for argument in sys.argv[1:]:
        if argument in ("hydra/launcher=slurm", "hydra/launcher=ray"):
            raise UserError(
                f"'{argument}' starts cells elsewhere, and torchrun trains them here; leave one of the two out (a cell "
                f"of several GPUs is a torchrun in its job there too)"
            )
    sys.argv.append("hydra/launcher=basic")


@contextmanager
def ranks_end_at_once() -> Iterator[None]:
    """Under torchrun the process ends with the body, without Python's own clearing up.

    A thread of torch.distributed that asks for the interpreter in the midst of that aborts the process, and torchrun
    then kills the other ranks: two of 48 ends did so on a busy machine. Files and W&B are closed by then.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    code = 0
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def plain_errors(again: str = "to go on from here") -> Iterator[None]:
    """Turn what a user can cause into one line on stderr and exit code 2; a bug keeps its traceback.

    A store that is lost on the way is no mistake, and exits with 1, as a cell that failed does. `again`: what the same
    command does after an interruption.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints and exits by itself
    try:
        with plain_interrupts(again):
            yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if WANTS_TRACEBACK:
            raise
        _tell_error(error)
        sys.exit(1 if isinstance(_find_user_error(error), StoreLost) else 2)
    except Exception as error:
        full = no_room(error)
        if full is None or WANTS_TRACEBACK:
            raise
        _tell_error(full)
        sys.exit(1)


def refuse_lists(arguments: Sequence[str]) -> None:
    """UserError for Hydra's own sweeps (`model.heads=1,2`), which would be taken for one value here."""
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        if override.is_sweep_override():
            raise UserError(_several(str(override.input_line)))


def refuse_misread(arguments: Sequence[str]) -> None:
    """UserError for what Hydra would answer with its usage or a traceback: `--seed=1`, a group without a name, and an
    option of a sweep without one."""
    named = any(argument.lstrip("+").startswith("sweep=") for argument in arguments)
    for argument in arguments:
        if argument.lstrip("+~").startswith("sweep.") and not named:
            raise UserError(
                f"'{argument}' is an option of a sweep, and none is named; add sweep=isoflop_small, say"
            )
        if argument in ("-m", "--multirun"):
            raise UserError(
                f"'{argument}' is not needed; a sweep's file asks for it, so leave it out, as in sweep=isoflop_tiny"
            )
        name, _, value = argument.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if argument.startswith("--") and name.partition(".")[0] in _keys(""):
            example = {"": "true" if name in ("dry_run", "audit", "detach") else "VALUE"}.get(value, value)
            raise UserError(
                f"'{argument}' can't be read; options are written without dashes, as in {name}={example}"
            )
        if value == "null" and name in GROUPS:
            raise UserError(f"'{argument}' names no file of configs/{name}/; name one or leave {name} out")


def choices(key: str) -> str:
    """The options that `key` may have meant, from the config's own dataclasses."""
    if key.startswith("hydra.launcher."):
        return _of_launcher(key.removeprefix("hydra.launcher."))
    if key.startswith("hydra"):
        return "it is of Hydra's own, which `python launch.py --cfg hydra` lists"
    parent, _, name = key.rpartition(".")
    options = _keys(parent)
    while parent and not options:  # the mistake is further left
        parent, _, name = parent.rpartition(".")
        options = _keys(parent)
    prefix = f"{parent}." if parent else ""
    near = difflib.get_close_matches(name, options, 1)
    hint = f"did you mean {prefix}{near[0]}? " if near else ""
    return f"{hint}options{' of ' + parent if parent else ''}: {', '.join(options)}"


def _of_launcher(name: str) -> str:
    """The options that `name` may have meant, of the launcher that the command line asks for, or of a sweep's own."""
    chosen = [one.partition("=")[2] for one in sys.argv[1:] if one.startswith("hydra/launcher=")]
    options = {launcher: _launcher_options(launcher) for launcher in ("slurm", "ray", "joblib")}
    if having := [f"hydra/launcher={launcher}" for launcher, keys in options.items() if name in keys]:
        return f"it is one of {' and '.join(having)}; add that"
    launcher = chosen[-1] if chosen else "joblib"
    keys = options.get(launcher, [])
    near = difflib.get_close_matches(name, keys, 1)
    hint = f"did you mean hydra.launcher.{near[0]}? " if near else ""
    return f"{hint}options of hydra/launcher={launcher}: {', '.join(keys) or 'none'}"


def _launcher_options(launcher: str) -> list[str]:
    node = ConfigStore.instance().load(f"hydra/launcher/{launcher}.yaml").node
    return sorted(str(key) for key in node if not str(key).startswith("_"))


def _tell_error(error: BaseException) -> None:
    """By the first rank of each node that has it to tell; by name where rank 0, whose terminal it is, is elsewhere."""
    told = sentence(error)
    rank, local_rank = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK"))
    who = "" if rank == local_rank else f"{socket.gethostname()}, rank {rank}: "
    lost = isinstance(error, RankLost)
    if _first_of_its_node(type(error).__name__ if lost else told, otherwise=lost or local_rank == "0"):
        print(f"error: {who}{told}", file=sys.stderr)


def _first_of_its_node(what: str, otherwise: bool) -> bool:
    """Whether no other rank of this node and this start of torchrun has told `what`.

    torchrun gives each rank of a node a file, below a folder that is this start's own; where it doesn't, `otherwise`.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return otherwise
    told = Path(file).parents[1] / f"told-{hashlib.sha256(what.encode()).hexdigest()[:16]}"
    try:
        told.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # better twice than not at all
        return True
    return True


def _several(argument: str) -> str:
    name, _, values = argument.partition("=")
    instead = f"write {name}=[{values}]" if name in LISTS else "run once for each"
    return f"'{argument}' gives several values, where one is expected; {instead}"


def sentence(error: BaseException) -> str:
    """One line that names the key and the choices."""
    user_error = _find_user_error(error)
    if user_error is not None:
        return str(user_error)
    if isinstance(error, MissingConfigException):
        return _missing_group(error)
    if isinstance(error, OverrideParseException):
        name = error.override.partition("=")[0]
        if re.match(r"\[-", error.override.partition("=")[2]):
            return f"'{error.override}' can't be read; what begins with a dash is quoted, as in \"{name}=['--flag']\""
        return f"'{error.override}' can't be read; options are written name=value, as in budget=1e12"
    text = str(error)
    if ambiguous := re.search(r"Ambiguous value for argument '(.+)'|Sweep parameters '(.+)' requires", text):
        return _several(ambiguous.group(1) or ambiguous.group(2))
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key = _key_of(error, cause)
    reason = str(getattr(cause, "msg", None) or cause).splitlines()[0].strip()
    if key == PARTS and (of_a_part := re.search(r"Key '(\w+)' not in", reason)):
        key = f"{key}.{of_a_part.group(1)}"
    if "not in" in reason and key:
        return f"'{key}' is not an option; {choices(key)}"
    if key and (wrong := _wrong_type(key, reason)):
        return wrong
    if key and key not in reason:
        return f"{key}: {reason}"
    return reason or " ".join(text.split())


def _wrong_type(key: str, reason: str) -> str | None:
    """OmegaConf's words for a value of the wrong type, as a sentence."""
    if found := re.search(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", reason):
        return f"{key} is '{found.group(1)}'; it must be {KINDS.get(found.group(2), found.group(2))}"
    if found := re.search(r"Value '(.*)' is not a valid bool", reason):
        return f"{key} is '{found.group(1)}'; it must be true or false"
    if "is not a ListConfig" in reason:
        return f"{key} is one value; it must be a list, as in {key}=[a,b]"
    if "missing mandatory value" in reason or "Missing mandatory value" in reason:
        return f"{key} has no value; give it one"
    if "does not support deletion" in reason:
        return f"'~{key}' can't be; an option can be changed and not taken away"
    if "is not Optional" in reason or "Non optional field" in reason:
        return f"{key} is null; it must have a value"
    return None


def _find_user_error(error: BaseException | None) -> UserError | None:
    while error is not None:
        if isinstance(error, UserError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _key_of(error: BaseException, cause: BaseException) -> str:
    for text in (str(error), str(cause)):
        found = re.search(r"Could not override '([^']+)'", text) or re.search(r"full_key: (\S+)", text)
        if found:
            return found.group(1)
    return ""


def _missing_group(error: MissingConfigException) -> str:
    name, options = str(error.missing_cfg_file or ""), sorted(error.options or [])
    group, _, value = name.rpartition("/")
    if not group:
        return f"'--config-name={name}' names no file of configs/; leave --config-name out"
    near = difflib.get_close_matches(value, options, 1)
    hint = f"did you mean {group}={near[0]}? " if near else ""
    return f"'{group}={value}' is unknown; {hint}choose one of {', '.join(options)}"


@cache
def _keys(parent: str) -> list[str]:
    """What can be set below `parent`; nothing where there is no such group."""
    from scaling_runs.config import Config
    from scaling_runs.data.config import PartConfig
    from scaling_runs.grid import SweepConfig

    if parent == PARTS:
        group: Any = OmegaConf.structured(PartConfig)
    elif parent == "sweep":
        group = OmegaConf.structured(SweepConfig)
    else:
        group = OmegaConf.structured(Config)
        try:
            group = OmegaConf.select(group, parent) if parent else group
        except OmegaConfBaseException:
            return []
    return sorted(str(key) for key in group) if OmegaConf.is_dict(group) else []
