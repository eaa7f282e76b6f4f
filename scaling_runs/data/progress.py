"""How far a preparation has come: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from scaling_runs.numbers import count, duration

EVERY_S = 30.0
"""Between lines, where nobody watches a bar."""


class Progress:
    """Documents, bytes and tokens of one corpus, told on stderr; a context."""

    def __init__(
        self,
        what: str,
        *,
        bytes_total: int | None = None,
        tokens_total: int | None = None,
        noun: str = "documents",
    ) -> None:
        """`bytes_total`: of text; `tokens_total`: of training tokens, after which reading ends. None: not known."""
        self.noun = noun
        self.what, self.bytes_total, self.tokens_total = what, bytes_total, tokens_total
        self.documents = self.bytes = self.tokens = self.train_tokens = 0
        self.began = self.told = time.monotonic()
        self._bar = tqdm(
            desc=what,
            total=1.0,
            bar_format="{desc}: {percentage:3.0f}%|{bar:20}|{postfix}"
            if bytes_total or tokens_total
            else "{desc}: {postfix}",
            disable=not sys.stderr.isatty(),
            leave=False,
            mininterval=0.5,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, size: int, tokens: int, *, train_tokens: int) -> None:
        """A document of `size` bytes."""
        self.documents += 1
        self.bytes += size
        self.tokens += tokens
        self.train_tokens += train_tokens
        now = time.monotonic()
        if now - self.told < (EVERY_S if self._bar.disable else self._bar.mininterval):
            return
        self.told = now
        if self._bar.disable:
            print(f"{self.what}: {self.state(now - self.began)}", file=sys.stderr, flush=True)
        else:
            self._bar.n = self.share or 0.0
            self._bar.set_postfix_str(self.state(now - self.began))

    def watching(self, texts: Iterable[bytes]) -> Iterator[bytes]:
        """`texts`, each counted as it passes."""
        for text in texts:
            self.add(len(text), 0, train_tokens=0)
            yield text

    @property
    def share(self) -> float | None:
        """Of the whole, where that is known: by whichever end is nearer."""
        shares = [
            min(done / total, 1.0)
            for done, total in ((self.bytes, self.bytes_total), (self.train_tokens, self.tokens_total))
            if total
        ]
        return max(shares, default=None)

    def state(self, seconds: float) -> str:
        """After so many seconds."""
        read = f"{count(self.tokens)} tokens ({count(self.tokens / seconds)}/s)"
        if not self.tokens:
            read = f"{count(self.bytes)} bytes ({count(self.bytes / seconds)}/s)"
        line = f"{count(self.documents)} {self.noun} ({count(self.documents / seconds)}/s), {read}"
        share = self.share
        return line + (f", {duration(seconds / share - seconds)} left" if share else "")
