"""litgpt's own pre-training loop on a Llama of the task's shape: compiled, as it always is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data import DataModule
from litgpt.pretrain import setup
from torch.utils.data import DataLoader, IterableDataset
from turns import Task, Turns, start


class Batches(IterableDataset):
    """Whole batches."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from map(torch.from_numpy, self.turns.batches())


class Text(DataModule):
    """The task's windows; the validation set, which litgpt insists on, is two of its batches."""

    def __init__(self, task: Task, turns: Turns) -> None:
        super().__init__()
        self.task, self.turns = task, turns

    def connect(
        self, tokenizer: object = None, batch_size: int = 1, max_seq_length: int | None = None
    ) -> None:
        """Nothing depends on them here."""

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Batches(self.turns), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        windows = torch.from_numpy(self.task.load_windows()[: 2 * self.task.batch])
        return DataLoader(windows, batch_size=self.task.batch)


def main() -> None:
    task, turns = start()
    config = Config(
        name="task",
        block_size=task.seq_len,
        vocab_size=task.vocab_size,
        padded_vocab_size=task.vocab_size,
        n_layer=task.depth,
        n_head=task.heads,
        n_embd=task.width,
        n_query_groups=task.heads,
        rotary_percentage=1.0,
        rope_base=round(task.rope_theta),
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
        intermediate_size=task.mlp_width,
    )
    with tempfile.TemporaryDirectory() as folder:
        setup(
            "task",
            model_config=config,
            out_dir=Path(folder),
            precision="bf16-mixed" if task.precision == "bf16" else "32-true",
            data=Text(task, turns),
            train=TrainArgs(
                save_interval=None,
                log_interval=100,
                global_batch_size=task.batch,
                micro_batch_size=task.batch,
                max_tokens=10**15,
                max_norm=task.clip,
                max_seq_length=task.seq_len,
                lr_warmup_steps=100,
                tie_embeddings=False,
            ),
            eval=EvalArgs(interval=10**12, final_validation=False),
            optimizer={
                "class_path": "torch.optim.AdamW",
                "init_args": {"lr": task.lr, "weight_decay": task.weight_decay},
            },
            devices=1,
            logger_name="csv",
        )


if __name__ == "__main__":
    main()
