"""A cell's final model as a folder that `AutoModelForCausalLM.from_pretrained` loads."""

from __future__ import annotations

import json
import struct
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scaling_runs.data import Corpus
from scaling_runs.data.tokens import saved_tokenizer
from scaling_runs.files import remove_abandoned, whole_file, write_text
from scaling_runs.gathering import gather_in_turn
from scaling_runs.model_card import card
from scaling_runs.places import is_local, names_in
from scaling_runs.spec import CellSpec
from scaling_runs.store import CellFolder

WEIGHTS = "model.safetensors"
CARD = "README.md"
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""As safetensors calls them."""
TIED_HEAD = "lm_head.weight"


@dataclass(frozen=True)
class ModelFolder:
    """`model/` in a cell's folder. Its weights are there first, and its card last: then it is whole, and stays."""

    path: Path

    @classmethod
    def of(cls, folder: CellFolder) -> ModelFolder:
        return cls(folder.path / "model")

    def has_weights(self) -> bool:
        return (self.path / WEIGHTS).exists()

    def is_whole(self) -> bool:
        return (self.path / CARD).exists()

    def drop(self) -> None:
        """Remove the weights, unless the folder is whole: then somebody has been told of it."""
        if not self.is_whole():
            (self.path / WEIGHTS).unlink(missing_ok=True)
            if is_local(self.path) and self.path.exists() and not names_in(self.path):
                self.path.rmdir()

    def write_weights(self, model: torch.nn.Module, *, tied: bool, write: bool) -> None:
        """Every rank that has a share of `model` calls this; the one that is to `write` has one tensor whole at a time.

        A head that is tied is left out, as transformers leaves it.
        """
        tensors = {n: t for n, t in model.state_dict().items() if not (tied and n == TIED_HEAD)}
        if write:
            remove_abandoned(self.path)
        with whole_file(self.path / WEIGHTS) if write else nullcontext() as file:
            if file is not None:
                file.write(_header(tensors))
            gather_in_turn(tensors.values(), None if file is None else file.write)

    def complete(self, spec: CellSpec, row: dict[str, Any], corpus: Corpus, tokenizer: str) -> None:
        """Put beside the weights what makes them a model. UserError where its tokeniser can't be had."""
        from models.factory import served_config  # loads transformers

        own = saved_tokenizer(corpus, tokenizer)
        config = served_config(
            spec.shape, seq_len=spec.seq_len, init_std=spec.recipe.init_std, separator=own.eos_token_id
        )
        write_text(self.path / "config.json", json.dumps(config, indent=2) + "\n")
        with tempfile.TemporaryDirectory() as temporary:
            own.save_pretrained(temporary)
            for file in sorted(Path(temporary).iterdir()):
                with whole_file(self.path / file.name) as target:
                    target.write(file.read_bytes())
        write_text(self.path / CARD, card(spec, row, corpus, tokenizer))


def _header(tensors: dict[str, torch.Tensor]) -> bytes:
    """Of a safetensors file (huggingface.co/docs/safetensors, "Format"): its length, JSON, and spaces up to 8 bytes."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        end = at + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
