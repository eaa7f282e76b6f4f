"""Documents into token ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fit.errors import UserError
from scaling_runs.data.config import BYTES

BYTE_SEPARATOR = 256


@dataclass(frozen=True)
class Tokenizer:
    """Token ids of documents, each closed by `separator`."""

    identity: str
    """Enters the corpus's fingerprint."""
    vocab_size: int
    separator: int
    encode: Callable[[list[bytes]], list[np.ndarray]]

    @property
    def dtype(self) -> str:
        return "uint16" if self.vocab_size <= 2**16 else "uint32"


def open_tokenizer(name: str) -> Tokenizer:
    """`bytes`, or a transformers tokeniser. UserError where it can't be had or has no end-of-text token."""
    if name == BYTES:
        return Tokenizer(BYTES, BYTE_SEPARATOR + 1, BYTE_SEPARATOR, _bytes)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # the hub's client has no one error for "not to be had"
        raise UserError(
            f"tokeniser '{name}' can't be loaded; check the name or folder and the network, or set data.tokenizer=bytes"
        ) from error
    separator = tokenizer.eos_token_id
    if separator is None:
        raise UserError(
            f"tokeniser '{name}' has no end-of-text token to part documents with; choose one that has"
        )

    def encode(documents: list[bytes]) -> list[np.ndarray]:
        texts = [document.decode(errors="replace") for document in documents]
        rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [np.asarray([*ids, separator], dtype=np.int64) for ids in rows]

    identity = f"{type(tokenizer).__name__}:{_content_hash(tokenizer)}"
    return Tokenizer(identity, len(tokenizer), int(separator), encode)


def _bytes(documents: list[bytes]) -> list[np.ndarray]:
    separator = np.uint16(BYTE_SEPARATOR)
    return [np.append(np.frombuffer(text, dtype=np.uint8).astype(np.uint16), separator) for text in documents]


def _content_hash(tokenizer: object) -> str:
    """Of the vocabulary, so that the fingerprint does not depend on the folder that the tokeniser came from."""
    vocabulary = sorted(tokenizer.get_vocab().items())  # type: ignore[attr-defined]
    return hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()[:16]
