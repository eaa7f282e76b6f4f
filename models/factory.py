"""A shape made into a transformers model."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from models.attention import NAMES, Kernel
from models.drawing import Drawing
from models.shapes import Shape


def build_model(
    shape: Shape,
    *,
    seq_len: int,
    seed: int,
    init_std: float,
    attention: Kernel = "fused",
    device: str = "cpu",
) -> PreTrainedModel:
    """A model of `shape` with fresh weights, in fp32 on `device` ("meta" makes no weights at all).

    The weights depend on (shape, seed, init_std) alone: they are drawn on the CPU, and the caller's random
    state is left as it was.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta") if device == "meta" else nullcontext():
        torch.manual_seed(seed)
        model = _constructed(shape, seq_len, init_std, attention)
    if device not in ("cpu", "meta"):
        torch.nn.Module.to(model, device)
    return model


Keep = Callable[[str, torch.Tensor], None]
"""Takes a parameter's name and its values."""
Draw = Callable[[Keep], None]
"""Gives each parameter to a `Keep`, one after another."""


def build_undrawn(
    shape: Shape, *, seq_len: int, seed: int, init_std: float, attention: Kernel = "fused"
) -> tuple[PreTrainedModel, Draw]:
    """A model without its weights (its matrices are on the meta device), and what draws those of `build_model`.

    They are the same numbers, to the bit, but are never all there: what draws them holds one tensor at a time.
    """
    with Drawing() as drawing:
        model = _constructed(shape, seq_len, init_std, attention)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    noted = {id(fill.tensor) for fill in drawing.fills}
    assert all(id(p) in noted for p in model.parameters() if p.is_meta), (
        "a tensor is filled in an unknown way"
    )

    def draw(keep: Keep) -> None:
        def keep_named(parameter: torch.Tensor, values: torch.Tensor) -> None:
            if id(parameter) in names:  # a head that is tied was drawn and let go
                keep(names[id(parameter)], values)

        drawing.draw(seed, keep_named)

    return model, draw


def served_config(shape: Shape, *, seq_len: int, init_std: float, separator: int | None) -> dict[str, Any]:
    """The config.json that a trained model of `shape` is loaded and served by; `separator`: the id that ends a text.

    `rope_theta` and `head_dim` stand by themselves too, where programs older than transformers 5 look for them.
    """
    config = _config(shape, seq_len, init_std)
    config.architectures = [_architecture(shape).__name__]
    config.dtype = "float32"
    config.use_cache = True
    config.eos_token_id = separator
    fields: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    if shape.family == "llama":
        fields |= {"rope_theta": shape.rope_theta, "head_dim": shape.head_width}
    return fields


def _architecture(shape: Shape) -> type[PreTrainedModel]:
    return LlamaForCausalLM if shape.family == "llama" else GPT2LMHeadModel


def _constructed(shape: Shape, seq_len: int, init_std: float, attention: Kernel) -> PreTrainedModel:
    config = _config(shape, seq_len, init_std)
    config._attn_implementation = NAMES[attention]
    return _architecture(shape)(config)


def _config(shape: Shape, seq_len: int, init_std: float) -> LlamaConfig | GPT2Config:
    common: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "initializer_range": init_std,
        "tie_word_embeddings": shape.tied,
        "use_cache": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    if shape.family == "llama":
        return LlamaConfig(
            hidden_size=shape.width,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            intermediate_size=shape.mlp_width,
            max_position_embeddings=seq_len,
            rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
            rms_norm_eps=1e-5,
            **common,
        )
    return GPT2Config(
        n_embd=shape.width,
        n_layer=shape.depth,
        n_head=shape.heads,
        n_inner=shape.mlp_width,
        n_positions=seq_len,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        **common,
    )
