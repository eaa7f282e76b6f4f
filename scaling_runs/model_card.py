"""The README.md of a kept model: what the hub reads of it, and the cell's numbers."""

from __future__ import annotations

import json
from typing import Any

import yaml

from scaling_runs.data import Corpus
from scaling_runs.spec import CellSpec, spec_json


def card(spec: CellSpec, row: dict[str, Any], corpus: Corpus, tokenizer: str) -> str:
    """Markdown that begins with YAML. `row`: the cell's of the run table."""
    shape = spec.shape
    results = [
        {"type": "loss", "name": "validation loss, nats a token", "value": row["loss"]},
        {"type": "bits_per_byte", "name": "bits a byte", "value": row["bits_per_byte"]},
    ]
    index = {
        "name": f"{shape.name}-{spec.cell_id}",
        "results": [
            {
                "task": {"type": "text-generation"},
                "dataset": {"name": corpus.description, "type": spec.corpus[:16]},
                "metrics": results,
            }
        ],
    }
    metadata = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["isoflop", "scaling-laws", shape.family],
        "model-index": [index],
    }
    numbers = {
        "Cell": f"`{spec.cell_id}`",
        "Shape": f"{shape.family}, width {shape.width}, depth {shape.depth}, {shape.heads} heads of "
        f"{shape.head_width}, {shape.kv_heads} key-value heads, MLP {shape.mlp_width}, vocabulary "
        f"{shape.vocab_size:,}, {'tied' if shape.tied else 'untied'} head",
        "Window": f"{spec.seq_len} tokens",
        "Parameters": f"{row['params_all']:,} in all; {row['params_no_embedding']:,} without the input embedding; "
        f"{row['params_body']:,} without embedding and head",
        "Tokens": f"{spec.tokens:,}, of which {row['unique_tokens']:,} are no repeats",
        "FLOPs": f"{row['flops_exact']:.4g} counted exactly; {row['flops_6nd']:.4g} by 6ND; the budget is by "
        f"`{spec.flop_convention}`",
        "Validation loss": f"{row['loss']:.6f} nats a token on {spec.val_tokens:,} tokens, in {spec.precision}",
        "Bits a byte": f"{row['bits_per_byte']:.6f}",
        "Seed": str(spec.seed),
        "Corpus": f"{corpus.description}; fingerprint `{spec.corpus}`",
        "Tokeniser": f"`{tokenizer}`",
        "Weights": "fp32, as trained",
    }
    lines = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in numbers.items()]
    recipe = json.dumps(json.loads(spec_json(spec))["recipe"], indent=1)
    return (
        f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n\n"
        f"# {shape.name}, {spec.flops:.2g} FLOPs\n\n"
        "A cell of an isoFLOP experiment: trained to measure a loss, not to be of use.\n\n"
        "| | |\n|---|---|\n" + "\n".join(lines) + f"\n\n## Recipe\n\n```json\n{recipe}\n```\n"
    )
