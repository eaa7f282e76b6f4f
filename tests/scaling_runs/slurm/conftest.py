"""A Slurm of shell scripts that takes notes, for what a real one (tests/cluster) would be too slow to show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from scaling_runs.slurm.options import SlurmOptions

PLAIN = SlurmOptions(None, None, None, None, 8, None, None, None, 1440, (), ())

SBATCH = """#!/bin/sh
cd {folder}
[ -e refuse ] && {{ echo 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1; }}
id=$(($(ls scripts | wc -l) + 1))
[ -e "kill-before-$id" ] && {{ rm "kill-before-$id"; kill -9 $PPID; exit; }}
cat > "scripts/$id"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "scripts/$id")
for number in $(seq 0 "$last"); do echo "$id|$number|PENDING|Priority" >> queue; done
[ -e "kill-after-$id" ] && {{ rm "kill-after-$id"; kill -9 $PPID; exit; }}
echo "$id"
"""
SQUEUE = """#!/bin/sh
cd {folder}
for option in "$@"; do
    case $option in --name=*)
        grep -lx -- "#SBATCH --job-name=${{option#--name=}}" scripts/* | xargs -rn1 basename
        exit;;
    esac
done
cat queue
"""
SACCT = """#!/bin/sh
cat {folder}/accounts
"""
SCONTROL = """#!/bin/sh
echo 'Configuration data as of 2026-11-26T12:00:00'
echo 'MaxArraySize            = 1001'
echo 'MaxJobCount             = 10000'
"""


@dataclass(frozen=True)
class Notes:
    """What was asked of it, and what it is to answer."""

    folder: Path

    @property
    def scripts(self) -> list[str]:
        """By sbatch, in order."""
        paths = sorted((self.folder / "scripts").iterdir(), key=lambda path: int(path.name))
        return [path.read_text() for path in paths]

    def do(self, what: str) -> None:
        """`refuse`; `kill-before-N`, `kill-after-N`: the process that submits array N, before or after it is there."""
        (self.folder / what).touch()

    def hold(self, rows: list[str]) -> None:
        """Have these jobs, as `ARRAY|NUMBER|STATE|REASON`, and no others."""
        (self.folder / "queue").write_text("".join(f"{row}\n" for row in rows))

    def account(self, rows: list[str]) -> None:
        """Have accounting, of these jobs: `ARRAY_NUMBER|STATE`."""
        _executable(self.folder / "bin" / "sacct", SACCT.format(folder=self.folder))
        (self.folder / "accounts").write_text("".join(f"{row}\n" for row in rows))


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notes:
    folder = tmp_path / "slurm"
    (folder / "scripts").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "queue").touch()
    scripts = {"sbatch": SBATCH, "squeue": SQUEUE, "sacct": "#!/bin/sh\nexit 1\n", "scontrol": SCONTROL}
    for name, text in scripts.items():
        _executable(folder / "bin" / name, text.format(folder=folder))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    return Notes(folder)


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
