"""The commands that README.md, CONTRIBUTING.md and docs/*.md show, and what is printed below them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.configs import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROMPT = "$ "
PROGRAMS = r"(?:python |torchrun |make |pip |sbatch |scancel )"
COMMAND = re.compile(rf"(?:\$ )?{PROGRAMS}")
INLINE = re.compile(rf"`({PROGRAMS}[^`]*)`")
OMITTED = "..."
"""A line of a page's output that stands for lines left out."""


@dataclass(frozen=True)
class Command:
    """A line, or several that share what is printed below the last: each is run, and the last one's output compared."""

    page: str
    lines: tuple[str, ...]
    """Without prompt, comment and line breaks."""
    printed: tuple[str, ...] | None = None
    """None where no output is shown."""

    def __str__(self) -> str:
        return f"{self.page}: {self.lines[-1]}"


def words(line: str) -> list[str]:
    """As a shell would part them, less a comment, a redirection and an ellipsis."""
    return [
        word
        for word in shlex.split(line.partition(" > ")[0].replace("\\", "\\\\"), comments=True)
        if word != "…"
    ]


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """(language, lines) of each block of code, indented or fenced."""
    fence: str | None = None
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("```"):
            if fence is not None or block:
                yield fence or "", block
            fence, block = (line.removeprefix("```") if fence is None else None), []
        elif fence is not None:
            block.append(line)
        elif line.startswith("    "):
            block.append(line[4:])
        elif line == "" and block:
            block.append("")
        elif block:
            yield "", block
            block = []
    if block:
        yield "", block


def commands(page: Path) -> Iterator[Command]:
    """Of the page's blocks, then those in its sentences."""
    text = page.read_text()
    for language, lines in blocks(text):
        if language != "python":
            yield from _of_block(page.name, lines)
    prose = re.sub(r"^```.*?^```|^    .*$", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in INLINE.findall(prose):
        yield Command(page.name, (" ".join(found.split()),))


def _of_block(page: str, lines: list[str]) -> Iterator[Command]:
    joined = re.sub(r" *\\\n *", " ", "\n".join(lines)).splitlines()
    asked: list[str] = []
    printed: list[str] = []
    for line in [*joined, f"{PROMPT}python "]:  # one more, so that the last is handed out
        if not COMMAND.match(line):
            printed.append(line)
            continue
        if asked and "\n".join(printed).strip():
            yield Command(page, tuple(asked), tuple("\n".join(printed).rstrip().splitlines()))
            asked = []
        elif asked and not line.startswith(PROMPT):
            yield from (Command(page, (one,)) for one in asked)
            asked = []
        printed = []
        if line.startswith(PROMPT):
            asked.append(line.removeprefix(PROMPT))
        else:
            yield Command(page, (line,))
    yield from (Command(page, (one,)) for one in asked[:-1])


def snippets(page: Path) -> str:
    """The page's Python, as one program."""
    return "\n".join("\n".join(lines) for language, lines in blocks(page.read_text()) if language == "python")


def differs(printed: tuple[str, ...], out: str) -> str:
    """Where the output is not what the page shows; empty where it is. `...` stands for any lines."""
    found = [line.rstrip() for line in out.rstrip().splitlines()]
    parts: list[list[str]] = [[]]
    for line in printed:
        if line.strip() == OMITTED:
            parts.append([])
        else:
            parts[-1].append(line)
    if len(parts) == 1:
        return "" if parts[0] == found else _first_difference(parts[0], found)
    at = 0
    for i, part in enumerate(parts):
        last = len(found) - len(part)
        places = range(at, last + 1) if i else range(1)
        places = range(last, last + 1) if i == len(parts) - 1 and part else places
        at = next((place + len(part) for place in places if found[place : place + len(part)] == part), -1)
        if at < 0:
            return "these lines are not there in a row:\n" + "\n".join(part)
    return ""


def _first_difference(shown: list[str], found: list[str]) -> str:
    for one, other in zip(shown, found, strict=False):
        if one != other:
            return f"the page has\n{one}\nand printed was\n{other}"
    return f"the page has {len(shown)} lines and {len(found)} were printed"
