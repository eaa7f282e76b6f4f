"""What the terminal says when something is wrong: one sentence, and exit code 2 where the user can mend it."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fit.errors import UserError


def ranks_replace_launchers() -> None:
    """Under torchrun the ranks run the same sweep in step; a launcher of processes inside each would multiply them."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.argv.append("hydra/launcher=basic")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a user can cause into one line on stderr and exit code 2; a bug keeps its traceback."""
    wanted_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints and exits by itself
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if wanted_traceback:
            raise
        sys.exit(_fail(_sentence(error)))
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on from here", file=sys.stderr)
        sys.exit(130)


def _fail(sentence: str) -> int:
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"error: {sentence}", file=sys.stderr)
    return 2


def _sentence(error: BaseException) -> str:
    """One line that names the key and the choices."""
    user_error = _find_user_error(error)
    if user_error is not None:
        return str(user_error)
    if isinstance(error, MissingConfigException):
        return _missing_group(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = " ".join(str(error).split())
    key = _key_of(error, cause)
    if "not in" in str(cause) and key:
        return f"'{key}' is not an option; {_choices(key)}"
    reason = str(getattr(cause, "msg", None) or cause).splitlines()[0].strip()
    if key and key not in reason:
        return f"{key}: {reason}"
    return reason or text


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
    name = error.missing_cfg_file or ""
    options = sorted(error.options or [])
    group, _, value = str(name).rpartition("/")
    near = difflib.get_close_matches(value, options, 1)
    hint = f"; did you mean {group}={near[0]}?" if near else ""
    return f"'{group}={value}' is unknown{hint} choose one of {', '.join(options)}".replace(
        " choose", "; choose", 1
    )


def _choices(key: str) -> str:
    """The options that `key` may have meant, from the config's own dataclasses."""
    from scaling_runs.config import Config

    parent, _, name = key.rpartition(".")
    options = _keys(OmegaConf.structured(Config), parent)
    near = difflib.get_close_matches(name, options, 1)
    prefix = f"{parent}." if parent else ""
    hint = f"did you mean {prefix}{near[0]}? " if near else ""
    return f"{hint}options{' of ' + parent if parent else ''}: {', '.join(options)}"


def _keys(config: object, parent: str) -> list[str]:
    from scaling_runs.config import SweepConfig

    if parent == "sweep":
        config = OmegaConf.structured(SweepConfig)
    elif parent:
        config = OmegaConf.select(config, parent)  # type: ignore[arg-type]
    return sorted(str(key) for key in config) if OmegaConf.is_dict(config) else []  # type: ignore[attr-defined]
