"""Words of others, kept to their line, and numbers of things."""

from __future__ import annotations

import unicodedata

BREAKS = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode's categories of what breaks a line, moves a cursor, turns the direction or can't be encoded."""


def number(things: float, noun: str, shown: str = "g") -> str:
    """1 cell, 2 cells; `shown` formats the number, and one that reads as 1 is one."""
    text = f"{things:{shown}}"
    return f"{text} {noun}{'s' * (text != '1')}"


def short_name(source: str) -> str:
    """Of a path or URL its last part; a page that is sent around need not tell whose folder it is from."""
    return source.rstrip("/").rpartition("/")[2] or source


def one_line(text: str) -> str:
    """`text` with its control characters and line breaks written out, as in \\n and \\x1b."""
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) not in BREAKS:
        return character
    return character.encode("unicode_escape").decode("ascii")
