"""Documents into token ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fit.errors import UserError
from scaling_runs.data.config import BYTES
from scaling_runs.data.corpus import TOKENIZER, Corpus
from scaling_runs.data.hub import first_line, require_hub

BYTE_SEPARATOR = 256
BYTE_SEPARATOR_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Tokenizer:
    """Token ids of documents, each closed by `separator`."""

    identity: str
    """Enters the corpus's fingerprint."""
    vocab_size: int
    separator: int
    encode: Callable[[list[bytes]], list[np.ndarray]]
    save: Callable[[Path], None] | None = None
    """Into a folder, of one that was trained here and is nowhere else."""

    @property
    def dtype(self) -> str:
        return "uint16" if self.vocab_size <= 2**16 else "uint32"


def open_tokenizer(name: str) -> Tokenizer:
    """`bytes`, or a transformers tokeniser. UserError where it can't be had or has no end-of-text token."""
    if name == BYTES:
        return Tokenizer(BYTES, BYTE_SEPARATOR + 1, BYTE_SEPARATOR, _bytes)
    require_hub(name, "tokeniser", "or set data.tokenizer to bytes or the folder of one")
    return of_transformers(_load(name), name)


def of_transformers(tokenizer: Any, name: str) -> Tokenizer:
    """A tokeniser of transformers, called `name` in a sentence. UserError where it has no end-of-text token."""
    separator = tokenizer.eos_token_id
    if separator is None:
        raise UserError(
            f"tokeniser '{name}' has no end-of-text token to part documents with; choose one that has"
        )

    def encode(documents: list[bytes]) -> list[np.ndarray]:
        # a tokeniser takes text: what is no UTF-8 becomes U+FFFD here, and here only
        texts = [document.decode(errors="replace") for document in documents]
        rows = tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        return [np.asarray([*ids, separator], dtype=np.int64) for ids in rows]

    vocabulary = tokenizer.get_vocab()
    identity = f"{type(tokenizer).__name__}:{_content_hash(tokenizer, vocabulary)}"
    return Tokenizer(identity, max(vocabulary.values()) + 1, int(separator), encode)


def saved_tokenizer(corpus: Corpus, name: str) -> Any:
    """The transformers tokeniser of a corpus that was prepared with data.tokenizer=`name`. UserError as above."""
    if (corpus.folder / TOKENIZER).exists():  # one that was trained on it
        return _load(str(corpus.folder / TOKENIZER))
    return byte_tokenizer() if name == BYTES else _load(name)


def byte_tokenizer() -> Any:
    """`bytes` for transformers: byte-level BPE without a merge, whose ids are the bytes and then the separator."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Library
    from transformers import PreTrainedTokenizerFast

    vocabulary = {letter: byte for byte, letter in enumerate(byte_letters())}
    library = Library(models.BPE(vocab=vocabulary, merges=[]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken(BYTE_SEPARATOR_TEXT, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=library, eos_token=BYTE_SEPARATOR_TEXT, clean_up_tokenization_spaces=False
    )


def byte_letters() -> list[str]:
    """The letter that stands for each byte in byte-level vocabularies: itself where Latin-1 prints it, else from U+0100
    on (GPT-2's encoder.py, bytes_to_unicode)."""
    printed = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printed else next(others)) for byte in range(256)]


def _load(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except Exception as error:  # the hub's client and each tokeniser raise their own
        raise UserError(
            f"tokeniser '{name}' can't be loaded ({first_line(error)}); check the name or folder, or set "
            f"data.tokenizer=bytes"
        ) from error


def _bytes(documents: list[bytes]) -> list[np.ndarray]:
    separator = np.uint16(BYTE_SEPARATOR)
    return [np.append(np.frombuffer(text, dtype=np.uint8).astype(np.uint16), separator) for text in documents]


def _content_hash(tokenizer: Any, vocabulary: dict[str, int]) -> str:
    """Of all that it does where it says so (merges, normaliser), else of its vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else json.dumps(sorted(vocabulary.items()))
    return hashlib.sha256(content.encode()).hexdigest()[:16]
