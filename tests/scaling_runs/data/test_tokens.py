"""Documents into token ids, with a tokeniser that is trained on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel
from transformers import PreTrainedTokenizerFast

from fit.errors import UserError
from scaling_runs.data.prepare import prepare
from scaling_runs.data.tokens import open_tokenizer
from tests.scaling_runs.data.corpora import by_hash, config_for, documents, write_jsonl

END = "<|end|>"


def _save_tokenizer(folder: Path, *, end: str | None = END, lowercase: bool = False) -> Path:
    """A byte-level BPE of 400 tokens, as transformers saves one."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(documents(40), trainer)
    if lowercase:
        bpe.normalizer = normalizers.Lowercase()
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=end).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_bytes_are_their_values_and_256_closes_a_document() -> None:
    """Truth: Python's own bytes."""
    (ids,) = open_tokenizer("bytes").encode([b"a\x00\xff"])
    assert ids.tolist() == [97, 0, 255, 256]


def test_a_tokeniser_s_shards_decode_to_the_documents(tokenizer: Path, tmp_path: Path) -> None:
    """Truth: the texts that went in, decoded by the tokenizers library itself."""
    texts = documents(60)
    path = write_jsonl(tmp_path / "rows.jsonl", texts)
    corpus = prepare(config_for(tmp_path / "cache", path, tokenizer=str(tokenizer)))
    plain = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    end = plain.token_to_id(END)
    back = []
    for side in (corpus.train(), corpus.val()):
        assert side[-1] == end
        parts = np.split(side, np.flatnonzero(side == end) + 1)[:-1]
        back += [plain.decode(part[:-1].tolist()).encode() for part in parts]
    assert by_hash(back) == by_hash(texts)
    assert (corpus.vocab_size, corpus.dtype) == (400, "uint16")
    assert corpus.bytes_per_token > 1.5


def test_the_split_does_not_depend_on_the_tokeniser(tokenizer: Path, tmp_path: Path) -> None:
    """Truth: the byte corpus of the same documents; bits per byte compare only on the same text."""
    path = write_jsonl(tmp_path / "rows.jsonl", documents(60))
    as_bytes = prepare(config_for(tmp_path / "cache", path))
    as_tokens = prepare(config_for(tmp_path / "cache", path, tokenizer=str(tokenizer)))
    assert as_bytes.val_documents == as_tokens.val_documents
    text = [corpus.bytes_per_token * corpus.val_tokens for corpus in (as_bytes, as_tokens)]
    assert text[0] == pytest.approx(text[1])
    assert as_bytes.fingerprint != as_tokens.fingerprint


def test_a_tokeniser_is_known_by_what_it_does_and_not_by_its_folder(tokenizer: Path, tmp_path: Path) -> None:
    """Truth: the same tokeniser saved elsewhere, and one with the same vocabulary that lowers case."""
    same = open_tokenizer(str(_save_tokenizer(tmp_path / "same")))
    lowering = open_tokenizer(str(_save_tokenizer(tmp_path / "lower", lowercase=True)))
    assert same.identity == open_tokenizer(str(tokenizer)).identity != lowering.identity


def test_what_is_not_utf_8_is_marked_for_a_tokeniser(tokenizer: Path) -> None:
    """Truth: Python's replacement character."""
    opened = open_tokenizer(str(tokenizer))
    assert opened.encode([b"a\xffb"])[0].tolist() == opened.encode(["a�b".encode()])[0].tolist()


def test_a_vocabulary_beyond_16_bits_gets_wider_shards(tmp_path: Path) -> None:
    """Truth: a vocabulary of 70,000 words whose last id does not fit 16 bits."""
    words = {f"w{i}": i for i in range(70_000)} | {END: 70_000}
    plain = Tokenizer(models.WordLevel(words, unk_token=END))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=plain, eos_token=END).save_pretrained(tmp_path / "wide")
    path = write_jsonl(tmp_path / "rows.jsonl", [f"w{i} w69999" for i in range(30)])
    corpus = prepare(config_for(tmp_path / "cache", path, tokenizer=str(tmp_path / "wide")))
    assert (corpus.dtype, corpus.vocab_size) == ("uint32", 70_001)
    assert (corpus.train() == 69_999).sum() == corpus.train_documents


def test_a_tokeniser_that_parts_nothing_or_is_none_is_one_sentence(tmp_path: Path) -> None:
    """Truth: the sentence names the folder and what to do."""
    with pytest.raises(UserError, match="has no end-of-text token"):
        open_tokenizer(str(_save_tokenizer(tmp_path / "endless", end=None)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty' can't be loaded .* data\.tokenizer=bytes") as caught:
        open_tokenizer(str(tmp_path / "empty"))
    assert "\n" not in str(caught.value)


def test_the_separators_own_name_in_a_document_is_text() -> None:
    """Truth: one separator, at the document's end: otherwise a text about tokenisers would be cut in pieces."""
    from scaling_runs.data.bpe import END, train_bpe

    tokenizer = train_bpe([b"a text about " + END.encode() + bytes(range(97, 123))] * 20, 260, "here")
    (ids,) = tokenizer.encode([b"a" + END.encode() + b"b"])
    assert list(ids).count(tokenizer.separator) == 1
    assert ids[-1] == tokenizer.separator
