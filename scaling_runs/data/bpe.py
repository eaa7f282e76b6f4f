"""A tokeniser that is trained on the corpus itself: byte-level BPE, as GPT-2's, by the library `tokenizers`."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

from fit.errors import UserError
from scaling_runs.data.scratch import is_validation
from scaling_runs.data.tokens import Tokenizer, of_transformers

END = "<|endoftext|>"
SAMPLE_BYTES = 32 << 20
"""Of text that a tokeniser is trained on."""
READ_BYTES = 512 << 20
"""Of text that the sample is drawn from: all of most local corpora, the first of a data set of the web."""


def sample(texts: Iterable[bytes], val_fraction: float, size: int = SAMPLE_BYTES) -> list[bytes]:
    """Training documents of `size` bytes or less in all, those of the lowest hashes among the first of `texts`.

    So it is the same whatever the order in which a corpus of up to READ_BYTES is read, and its documents come from all
    over it. No document of the validation side is in it.
    """
    kept: list[tuple[int, bytes]] = []
    there = 0
    highest: int | None = None
    seen: set[int] = set()
    for text in _first_bytes(texts, READ_BYTES):
        digest = hashlib.sha256(text).digest()
        key = int.from_bytes(digest, "big")
        if not text or is_validation(digest, val_fraction) or key in seen or (highest and key >= highest):
            continue
        heapq.heappush(kept, (-key, text))
        seen.add(key)
        there += len(text)
        while there > size and len(kept) > 1:
            gone, last = heapq.heappop(kept)
            highest = -gone
            seen.discard(highest)
            there -= len(last)
    return [text for _, text in sorted(kept, reverse=True)]


def train_bpe(texts: list[bytes], vocab_size: int, where: str) -> Tokenizer:
    """A byte-level BPE of `vocab_size` tokens, its separator among them. UserError where `texts` give no so many."""
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    library.train_from_iterator((text.decode(errors="replace") for text in texts), trainer)
    found = library.get_vocab_size()
    if found < vocab_size:
        raise UserError(
            f"{where}: its training text gives a tokeniser of {found:,} tokens, and data.vocab_size is {vocab_size:,}; "
            f"lower it, or give more text"
        )
    whole = PreTrainedTokenizerFast(tokenizer_object=library, eos_token=END)

    def save(folder: Path) -> None:
        whole.save_pretrained(folder)

    return dataclasses.replace(of_transformers(whole, "bpe"), save=save)


def _first_bytes(texts: Iterable[bytes], most: int) -> Iterator[bytes]:
    there = 0
    for text in texts:
        yield text
        there += len(text)
        if there >= most:
            return
