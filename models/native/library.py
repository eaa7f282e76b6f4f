"""The kernels of this folder's C files: compiled once a machine by its own C compiler, loaded into this process."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path

SOURCES = ("kernels.c", "attention.c", "optimizers.c")
HEADERS = ("vectors.h",)
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
"""None that lets sums be put in another order, or numbers that are none be supposed away: `-ffast-math` would, and it
makes the whole process flush small numbers to zero."""
COMPILERS = ("cc", "gcc", "clang")
COMPILING_TIMEOUT_S = 120


class NoKernels(Exception):
    """They can't be compiled or loaded on this machine; the message says why."""


@cache
def kernels(precision: str) -> ctypes.CDLL | None:
    """The kernels for activations in "fp32" or "bf16"; None where there are none, which is said once a process."""
    try:
        return _loaded(precision)
    except NoKernels as reason:
        warnings.warn(f"training goes on by torch alone, which is slower: {reason}", stacklevel=2)
        return None


def _loaded(precision: str) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(compiled(precision, cache_folder())))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: nobody has no home
        raise NoKernels(f"the C kernels of models/native did not compile or load ({_told(error)})") from error
    for name in ("total", "clip"):
        getattr(library, name).restype = ctypes.c_double
    library.muon_scratch.restype = ctypes.c_int64
    return library


def compiled(precision: str, folder: Path) -> Path:
    """The shared library in `folder`, compiled first where none of this source, compiler and processor is there.

    It is written under another name and renamed, so that processes that compile it at once all find a whole one.
    Raises NoKernels where there is no compiler, OSError or SubprocessError where it fails.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise NoKernels(f"there is no C compiler on the PATH (tried {', '.join(COMPILERS)})")
    command = [compiler, *FLAGS, *(["-DBF16"] if precision == "bf16" else [])]
    path = folder / f"{_key(command)}.so"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "kernels.so"
        sources = [str(Path(__file__).with_name(name)) for name in SOURCES]
        subprocess.run(
            [*command, "-shared", "-fPIC", *sources, "-o", str(made), "-lm"],
            check=True,
            capture_output=True,
            text=True,
            timeout=COMPILING_TIMEOUT_S,
        )
        made.replace(path)
    return path


def cache_folder() -> Path:
    """In the user's cache, as the XDG base directory specification has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isoflop" / "kernels"


def processor() -> str:
    """What programs compiled for this processor alone depend on: its name and the instructions that it has."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    kept = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return "\n".join([platform.system(), platform.machine(), platform.processor(), *sorted(kept)])


def _key(command: list[str]) -> str:
    version = subprocess.run(
        [command[0], "--version"], capture_output=True, text=True, check=True, timeout=10
    )
    parts = [*command, version.stdout, processor(), *(_source(name) for name in (*HEADERS, *SOURCES))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _source(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


def _told(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        return str(error.stderr).strip().splitlines()[0]
    return str(error)
