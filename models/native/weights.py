"""A Llama's parameters as views of one flat buffer, so that what is read together is one matrix."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Layer:
    """One block's. `norm_middle` is the norm between attention and MLP."""

    qkv: Tensor
    """(3W, W)"""
    output: Tensor
    gate_up: Tensor
    """(2M, W)"""
    down: Tensor
    norm: Tensor
    norm_middle: Tensor


@dataclass(frozen=True)
class Weights:
    """All of them, in `flat`."""

    flat: Tensor
    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Tensor
    """The embedding itself where they are tied."""


def weights_in(flat: Tensor, model: LlamaForCausalLM) -> Weights:
    """`flat` seen as the parameters of `model`, one after the other in the model's own order."""
    places, place = {}, 0
    for parameter in model.parameters():
        places[id(parameter)] = place
        place += parameter.numel()

    def at(*neighbours: Tensor) -> Tensor:
        """Parameters that lie side by side, as one: their rows together."""
        start = end = places[id(neighbours[0])]
        for parameter in neighbours:
            assert places[id(parameter)] == end, "transformers holds these side by side"
            end += parameter.numel()
        return flat[start:end].view(-1, *neighbours[0].shape[1:])

    layers = tuple(
        Layer(
            qkv=at(a.q_proj.weight, a.k_proj.weight, a.v_proj.weight),
            output=at(a.o_proj.weight),
            gate_up=at(m.gate_proj.weight, m.up_proj.weight),
            down=at(m.down_proj.weight),
            norm=at(layer.input_layernorm.weight),
            norm_middle=at(layer.post_attention_layernorm.weight),
        )
        for layer in model.model.layers
        for a, m in [(layer.self_attn, layer.mlp)]
    )
    body = model.model
    return Weights(flat, at(body.embed_tokens.weight), layers, at(body.norm.weight), at(model.lm_head.weight))
