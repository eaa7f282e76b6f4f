"""Which corpus is wanted."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field

from fit.errors import UserError

PYTHON_SOURCE, TEXT_FILES, HUB, MIXTURE = "python_source", "text_files", "hf", "mixture"
KINDS = (PYTHON_SOURCE, TEXT_FILES, HUB, MIXTURE)
BYTES = "bytes"
BPE = "bpe"
MIN_BPE_TOKENS = 258
"""One a byte, the separator, and a merge."""
MAX_BPE_TOKENS = 1_000_000


@dataclass
class SourceConfig:
    """Where documents come from, and how they are read."""

    kind: str = PYTHON_SOURCE
    """python_source: this machine's Python files; text_files: local files; hf: a Hugging Face data set."""
    paths: list[str] = field(default_factory=list)
    """text_files: files, folders or globs of .txt, .jsonl, .json, .csv, .tsv, .parquet or .arrow; .gz and .zst too."""
    hf_path: str | None = None
    """hf: the data set's name, as owner/name, or a local folder."""
    hf_name: str | None = None
    """hf: its configuration."""
    hf_data_dir: str | None = None
    """hf: the folder within it whose files are read, such as a language's."""
    hf_split: str = "train"
    """hf: its split."""
    streaming: bool = True
    """hf: read what is needed and no more, rather than download it all first."""
    on_disk: bool = True
    """false: hf: only the validation set is put on disk, and cells read the rest as they train."""
    text_column: str = "text"
    """hf, and .jsonl, .json or .parquet files: the column that holds the text."""
    document_start: str | None = None
    """A regular expression, where rows are lines: a row that has no match goes on with the document before it."""
    max_train_tokens: int | None = None
    """Stop reading once this much is there."""
    train_tokens: int | None = None
    """Declared, so that a dry run needs no corpus; of what is not on disk, for repeats are counted by it."""

    def check_source(self, prefix: str) -> None:
        """UserError for what can't be, its options named below `prefix`."""
        if self.max_train_tokens is not None and self.max_train_tokens < 1:
            raise UserError(f"{prefix}.max_train_tokens is {self.max_train_tokens}; it must be at least 1")
        if self.document_start is not None:
            try:
                re.compile(self.document_start)
            except re.error as error:
                raise UserError(
                    f"{prefix}.document_start is '{self.document_start}', which is no regular expression ({error}); "
                    f"mend it"
                ) from None
        if not self.on_disk:
            self._check_stream(prefix)
        for option, value, of in (
            ("paths", self.paths, TEXT_FILES),
            ("hf_path", self.hf_path, HUB),
            ("hf_name", self.hf_name, HUB),
            ("hf_data_dir", self.hf_data_dir, HUB),
        ):
            if value and self.kind != of:
                raise UserError(
                    f"{prefix}.{option} is for {prefix}.kind={of}, and {prefix}.kind is '{self.kind}'; choose "
                    f"data={of}, or leave it out"
                )

    def _check_stream(self, prefix: str) -> None:
        if self.kind != HUB:
            raise UserError(
                f"{prefix}.on_disk=false is for data sets that `datasets` streams (data=stream data.hf_path=…), and "
                f"{prefix}.kind is '{self.kind}'; leave it out"
            )
        if not self.streaming:
            raise UserError(
                f"{prefix}.streaming=false downloads the data set, and {prefix}.on_disk=false keeps it off the disk; "
                f"leave one out"
            )
        if self.document_start is not None:
            raise UserError(
                f"{prefix}.document_start joins rows, which is done where a data set is put on disk; leave it or "
                f"{prefix}.on_disk=false out"
            )
        if self.max_train_tokens is not None:
            raise UserError(
                f"{prefix}.max_train_tokens is {self.max_train_tokens}, and what is not on disk is read without an "
                f"end; set it to null, or leave {prefix}.on_disk=false out"
            )
        if self.train_tokens is None or self.train_tokens < 1:
            raise UserError(
                f"{prefix}.train_tokens is {'not set' if self.train_tokens is None else self.train_tokens}; with "
                f"{prefix}.on_disk=false say about how many tokens the data set holds, such as "
                f"{prefix}.train_tokens=1_000_000_000_000"
            )


@dataclass
class PartConfig(SourceConfig):
    """A source of a mixture, and its share. Its kind is read off what it names."""

    kind: str = ""
    """python_source, text_files or hf; read off what is named where not given."""
    name: str = ""
    """What the part is called."""
    weight: float = 1.0
    """Its share of the tokens, against the other parts' weights."""

    def check(self, number: int) -> None:
        """UserError for what can't be. `number`: its place in data.parts."""
        prefix = f"data.parts[{number}]"
        if not self.kind:
            self.kind = HUB if self.hf_path else TEXT_FILES if self.paths else ""
        if not self.kind:
            raise UserError(f"{prefix} names no text; give it hf_path, paths or kind: python_source")
        if self.kind not in KINDS[:-1]:
            raise UserError(f"{prefix}.kind is '{self.kind}'; choose one of {', '.join(KINDS[:-1])}")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise UserError(
                f"{prefix}.name is '{self.name}'; name it in letters, digits, - and _, such as name: web"
            )
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise UserError(f"{prefix}.weight is {self.weight}; it must be a positive number, such as 0.3")
        self.check_source(prefix)


@dataclass
class DataConfig(SourceConfig):
    """A corpus, as a user names it (`configs/data/`)."""

    parts: list[PartConfig] = field(default_factory=list)
    """mixture: its sources, each with a name, a weight and the options of a source."""
    tokenizer: str = BYTES
    """`bytes`; a transformers tokeniser by name or folder; `bpe`, one of vocab_size tokens trained on this text."""
    val_fraction: float = 0.02
    """Share of the documents, by hash of their content, that is never trained on."""
    vocab_size: int | None = None
    """Of `bpe`; of any other tokeniser declared, so that a dry run needs no corpus: what is prepared says its own."""
    cache_dir: str = "cache"
    """Where prepared text is kept."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"data.kind is '{self.kind}'; choose one of {', '.join(KINDS)}")
        if not 0 < self.val_fraction < 1:
            raise UserError(
                f"data.val_fraction is {self.val_fraction}; it must lie between 0 and 1, such as 0.02"
            )
        if self.tokenizer == BPE and not MIN_BPE_TOKENS <= (self.vocab_size or 0) <= MAX_BPE_TOKENS:
            raise UserError(
                f"data.vocab_size is {'not set' if self.vocab_size is None else self.vocab_size}; data.tokenizer=bpe "
                f"trains a tokeniser of that size, {MIN_BPE_TOKENS} to {MAX_BPE_TOKENS:,}, such as 4096"
            )
        self.check_source("data")
        self._check_parts()

    def _check_parts(self) -> None:
        if self.kind != MIXTURE:
            if self.parts:
                raise UserError(
                    f"data.parts is for data=mixture, and data.kind is '{self.kind}'; leave one out"
                )
            return
        if not self.parts:
            raise UserError(
                "data.parts is empty; name the sources of the mixture, such as "
                "'data.parts=[{name: web, weight: 0.7, hf_path: owner/name}, {name: code, weight: 0.3, paths: [src/]}]'"
            )
        for number, part in enumerate(self.parts):
            part.check(number)
        names = [part.name for part in self.parts]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"data.parts has two parts named '{name}'; give each a name of its own")

    @property
    def sources(self) -> list[SourceConfig]:
        """The parts of a mixture; of any other corpus, itself."""
        return [*self.parts] or [self]

    @property
    def shares(self) -> list[float]:
        """Of the parts, by weight; they sum to 1."""
        whole = math.fsum(part.weight for part in self.parts)
        return [part.weight / whole for part in self.parts]

    def of_part(self, number: int) -> DataConfig:
        """The corpus of one part by itself; of the whole's max_train_tokens it has its share."""
        part, share = self.parts[number], self.shares[number]
        own = {item.name: getattr(part, item.name) for item in dataclasses.fields(SourceConfig)}
        if self.max_train_tokens is not None and part.max_train_tokens is None and part.on_disk:
            own["max_train_tokens"] = math.ceil(self.max_train_tokens * share)
        return dataclasses.replace(self, parts=[], **own)
