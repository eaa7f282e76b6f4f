"""transformers' Trainer on a Llama of the task's shape, as its documentation has it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import torch
from torch.utils.data import IterableDataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
from turns import Task, Turns, start


class Sequences(IterableDataset):
    """One sequence after another; the Trainer makes batches of them."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for batch in self.turns.batches():
            for row in torch.from_numpy(batch[:, :-1]):
                yield {"input_ids": row, "labels": row}


def main() -> None:
    task, turns = start()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=task.batch,
            max_steps=10**9,
            learning_rate=task.lr,
            weight_decay=task.weight_decay,
            max_grad_norm=task.clip,
            bf16=task.precision == "bf16",
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        Trainer(model=_model(task), args=arguments, train_dataset=Sequences(turns)).train()


def _model(task: Task) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=task.vocab_size,
            hidden_size=task.width,
            num_hidden_layers=task.depth,
            num_attention_heads=task.heads,
            num_key_value_heads=task.heads,
            intermediate_size=task.mlp_width,
            max_position_embeddings=task.seq_len,
            rope_parameters={"rope_type": "default", "rope_theta": task.rope_theta},
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
    )


if __name__ == "__main__":
    main()
