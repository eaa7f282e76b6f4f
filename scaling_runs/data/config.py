"""Which corpus is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

from fit.errors import UserError

KINDS = ("python_source", "text_files", "hf")
BYTES = "bytes"


@dataclass
class DataConfig:
    """A corpus, as a user names it (`configs/data/`)."""

    kind: str = "python_source"
    """python_source: this machine's Python files; text_files: local files; hf: a Hugging Face data set."""
    paths: list[str] = field(default_factory=list)
    """text_files: files, folders or globs of .txt, .jsonl, .json or .parquet."""
    hf_path: str | None = None
    """hf: the data set's name, as owner/name, or a local folder."""
    hf_name: str | None = None
    """hf: its configuration."""
    hf_split: str = "train"
    """hf: its split."""
    streaming: bool = True
    """hf: read what is needed and no more, rather than download it all first."""
    on_disk: bool = True
    """false: hf: only the validation set is put on disk, and cells read the rest as they train."""
    text_column: str = "text"
    """hf, and .jsonl, .json or .parquet files: the column that holds the text."""
    tokenizer: str = BYTES
    """`bytes`, or a transformers tokeniser by name or folder."""
    val_fraction: float = 0.02
    """Share of the documents, by hash of their content, that is never trained on."""
    max_train_tokens: int | None = None
    """Stop reading once this much is there."""
    vocab_size: int | None = None
    """Declared, so that a dry run needs no corpus; what is prepared says its own."""
    train_tokens: int | None = None
    """Declared, for the same; of what is not on disk, for repeats are counted by it."""
    cache_dir: str = "cache"
    """Where prepared text is kept."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"data.kind is '{self.kind}'; choose one of {', '.join(KINDS)}")
        if not 0 < self.val_fraction < 1:
            raise UserError(
                f"data.val_fraction is {self.val_fraction}; it must lie between 0 and 1, such as 0.02"
            )
        if self.max_train_tokens is not None and self.max_train_tokens < 1:
            raise UserError(f"data.max_train_tokens is {self.max_train_tokens}; it must be at least 1")
        if not self.on_disk:
            self._check_stream()

    def _check_stream(self) -> None:
        if self.kind != "hf":
            raise UserError(
                f"data.on_disk=false is for data sets that `datasets` streams (data=stream data.hf_path=…), and "
                f"data.kind is '{self.kind}'; leave it out"
            )
        if not self.streaming:
            raise UserError(
                "data.streaming=false downloads the data set, and data.on_disk=false keeps it off the disk; leave one "
                "out"
            )
        if self.max_train_tokens is not None:
            raise UserError(
                f"data.max_train_tokens is {self.max_train_tokens}, and what is not on disk is read without an end; "
                f"set it to null, or leave data.on_disk=false out"
            )
        if self.train_tokens is None or self.train_tokens < 1:
            raise UserError(
                f"data.train_tokens is {'not set' if self.train_tokens is None else self.train_tokens}; with "
                f"data.on_disk=false say about how many tokens the data set holds, such as "
                f"data.train_tokens=1_000_000_000_000"
            )
