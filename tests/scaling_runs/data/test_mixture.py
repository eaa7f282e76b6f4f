"""Mixtures: several sources in shares of tokens, on disk and streamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs.data import Corpus, DataConfig, open_batches, validation_counts, validation_windows
from scaling_runs.data.config import PartConfig
from scaling_runs.data.prepare import find_prepared, prepare
from scaling_runs.data.shares import Rows
from scaling_runs.plan import CorpusSize
from tests.scaling_runs.data.corpora import documents, documents_of, write_jsonl
from tests.scaling_runs.data.streams import VAL_FRACTION, on_validation_side, training_tokens, write_data_set

SEQ_LEN, BATCH, SEED = 16, 8, 3
LOW = [text.lower() for text in documents(160)]
HIGH = [text.upper() for text in documents(120)]
"""So that a window's letters say which part it is of."""


def mixture(folder: Path, *parts: dict[str, object], **options: object) -> DataConfig:
    settings: dict[str, object] = {"cache_dir": str(folder / "cache"), "val_fraction": VAL_FRACTION}
    return DataConfig(kind="mixture", parts=[PartConfig(**part) for part in parts], **(settings | options))  # type: ignore[arg-type]


def low_and_high(folder: Path, how: str) -> list[dict[str, object]]:
    """Seven tenths of small letters, three of capitals: `how` says of each part whether it is on disk."""
    folder.mkdir(exist_ok=True)
    on_disk: dict[str, object] = {"name": "low", "weight": 7.0, "paths": [str(folder / "low.jsonl")]}
    if not (folder / "high").exists():
        write_jsonl(folder / "low.jsonl", LOW)
        write_data_set(folder / "high", [HIGH[:50], HIGH[50:60], HIGH[60:]])
        write_data_set(folder / "low", [LOW[:30], LOW[30:50], LOW[50:110], LOW[110:]])
    streamed: dict[str, object] = {"on_disk": False, "train_tokens": 10_000}
    low = on_disk if how[0] == "d" else {**on_disk, "paths": [], "hf_path": str(folder / "low"), **streamed}
    high: dict[str, object] = {"name": "high", "weight": 3.0, "hf_path": str(folder / "high")}
    return [low, high if how[1] == "d" else high | streamed]


@pytest.fixture(scope="module", params=["dd", "ds", "ss"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("mixture")
    return prepare(mixture(folder, *low_and_high(folder, request.param)), 400)


def read(
    corpus: Corpus,
    steps: int,
    *,
    step: int = 0,
    places: dict[int, Any] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> tuple[list[np.ndarray], dict[int, Any]]:
    where = {"step": step, "places": places or {}, "rank": rank, "world_size": world_size}
    with open_batches(corpus, SEQ_LEN, BATCH, SEED, **where) as batches:  # type: ignore[arg-type]
        found = [batches.batch(step + number) for number in range(steps)]
        return found, batches.lanes()


def _is_high(windows: np.ndarray) -> np.ndarray:
    """(windows,) by their letters; a window of no letters is neither."""
    capitals = ((windows >= 65) & (windows <= 90)).any(axis=-1)
    small = ((windows >= 97) & (windows <= 122)).any(axis=-1)
    assert not (capitals & small).any()
    return np.asarray(capitals)


def test_each_row_is_of_the_part_that_its_place_says(corpus: Corpus) -> None:
    """Truth: the letters of the text, by part; 240 rows at 0.7 and 0.3."""
    rows = np.concatenate(read(corpus, 30)[0])
    mask = Rows((0.7, 0.3), SEED, 1).mask(0, len(rows))
    np.testing.assert_array_equal(_is_high(rows), mask)
    assert mask.sum() == pytest.approx(0.3 * len(rows), abs=2)


def test_a_part_s_rows_hold_its_text_once_an_epoch(corpus: Corpus) -> None:
    """Truth: the training tokens of the part's documents, in whatever order its windows come."""
    rows = np.concatenate(read(corpus, 60)[0])
    high = rows[_is_high(rows)][:, :-1]
    tokens = training_tokens(HIGH)
    assert len(high) * SEQ_LEN < len(tokens)
    counts, whole = (np.bincount(values, minlength=257) for values in (high.ravel(), tokens))
    assert (counts <= whole).all()


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_resume_anywhere_by_any_ranks_reads_the_same_batches(corpus: Corpus, data: st.DataObject) -> None:
    """Truth: the batches of one process that nothing disturbed, over the ends of epochs of both parts."""
    whole, _ = read(corpus, 150)
    step, places = 0, {}
    while step < 150:
        ranks = data.draw(st.sampled_from([1, 2, 4, 8]))
        steps = data.draw(st.integers(1, 150 - step))
        after: dict[int, Any] = {}
        parts = []
        for rank in range(ranks):
            mine, lanes = read(corpus, steps, step=step, places=places, rank=rank, world_size=ranks)
            parts.append(mine)
            after |= lanes
        for number in range(steps):
            rows = np.concatenate([part[number] for part in parts])
            np.testing.assert_array_equal(rows, whole[step + number])
        step, places = step + steps, json.loads(json.dumps(after), object_pairs_hook=_whole_keys)


def _whole_keys(pairs: list[tuple[str, object]]) -> dict[object, object]:
    return {int(key) if key.isdigit() else key: value for key, value in pairs}


def test_validation_is_mixed_by_the_same_shares(corpus: Corpus) -> None:
    """Truth: the letters of 20 windows: 14 small, then 6 capital; and no validation document was trained on."""
    windows = validation_windows(corpus, SEQ_LEN, 20 * SEQ_LEN)
    assert _is_high(windows).tolist() == [False] * 14 + [True] * 6
    assert validation_counts(corpus, 20) == [14, 6]
    held_out = [text for text in HIGH if on_validation_side(text)]
    found = documents_of(corpus.parts[1].corpus.val())
    assert found
    assert set(found) <= {text.encode() for text in held_out}


def test_its_numbers_are_those_of_its_parts(corpus: Corpus) -> None:
    """Truth: sums, and the mean of bytes a token by the shares in which tokens are met."""
    low, high = (part.corpus for part in corpus.parts)
    assert corpus.train_tokens == low.train_tokens + high.train_tokens
    assert corpus.bytes_per_token == pytest.approx(0.7 * low.bytes_per_token + 0.3 * high.bytes_per_token)
    assert [part.share for part in corpus.parts] == [0.7, 0.3]
    size = CorpusSize.of(corpus)
    tokens = 4 * high.train_tokens
    assert size.epochs(tokens) == pytest.approx(max(0.7 * tokens / low.train_tokens, 0.3 * 4))
    unique = min(low.train_tokens, round(0.7 * tokens)) + min(high.train_tokens, round(0.3 * tokens))
    assert corpus.unique_tokens(tokens) == unique


def test_other_weights_are_another_corpus_of_the_same_shards(tmp_path: Path) -> None:
    """Truth: the shards' own times: none was written again; the fingerprint, for losses would differ."""
    parts = low_and_high(tmp_path, "dd")
    config = mixture(tmp_path, *parts)
    first = prepare(config)
    assert find_prepared(config) == first
    written = [(part.corpus.folder / "train.bin").stat().st_mtime_ns for part in first.parts]
    other = prepare(mixture(tmp_path, *[part | {"weight": 1.0} for part in parts]))
    assert other.fingerprint != first.fingerprint
    assert [part.corpus for part in other.parts] == [part.corpus for part in first.parts]
    assert [(part.corpus.folder / "train.bin").stat().st_mtime_ns for part in other.parts] == written
    assert [part.share for part in other.parts] == [0.5, 0.5]


def test_a_part_has_its_share_of_the_tokens_that_are_read(tmp_path: Path) -> None:
    """Truth: the shares of 2000 tokens, each to the end of a document."""
    corpus = prepare(mixture(tmp_path, *low_and_high(tmp_path, "dd"), max_train_tokens=2000))
    longest = max(map(len, LOW)) + 1
    for part, share in zip(corpus.parts, (1400, 600), strict=True):
        assert share <= part.corpus.train_tokens < share + longest


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([], r"data\.parts is empty; name the sources"),
        ([{"name": "a"}], r"data\.parts\[0\] names no text; give it hf_path, paths or kind"),
        ([{"name": "a b", "paths": ["x"]}], r"data\.parts\[0\]\.name is 'a b'; name it in letters"),
        ([{"name": "a", "paths": ["x"], "weight": 0.0}], r"data\.parts\[0\]\.weight is 0\.0; .*positive"),
        ([{"name": "a", "paths": ["x"], "weight": float("inf")}], r"\.weight is inf; .*positive"),
        ([{"name": "a", "paths": ["x"]}, {"name": "a", "hf_path": "y"}], r"has two parts named 'a'"),
        ([{"name": "a", "paths": ["x"], "hf_path": "o/n"}], r"data\.parts\[0\]\.paths is for .*text_files"),
        ([{"name": "a", "kind": "mixture"}], r"data\.parts\[0\]\.kind is 'mixture'; choose one of"),
        ([{"name": "a", "hf_path": "y", "on_disk": False}], r"data\.parts\[0\]\.train_tokens is not set"),
    ],
)
def test_parts_that_cannot_be_are_one_sentence(
    tmp_path: Path, parts: list[dict[str, object]], sentence: str
) -> None:
    """Truth: the sentence names the part's option and its value."""
    with pytest.raises(UserError, match=sentence) as caught:
        mixture(tmp_path, *parts)
    assert "\n" not in str(caught.value)


def test_parts_beside_another_kind_are_refused() -> None:
    """Truth: the sentence names both."""
    with pytest.raises(
        UserError, match=r"data\.parts is for data=mixture, and data\.kind is 'python_source'"
    ):
        DataConfig(parts=[PartConfig(name="a", paths=["x"])])


def test_a_part_without_a_validation_window_is_one_sentence(corpus: Corpus) -> None:
    """Truth: two windows at 0.7 and 0.3 leave one none."""
    with pytest.raises(UserError, match=r"part 'high' has a share of 0\.3, which is none of 1 validation"):
        validation_windows(corpus, SEQ_LEN, SEQ_LEN)


def test_a_part_whose_validation_split_is_too_small_is_named(corpus: Corpus) -> None:
    """Truth: a thousand windows, of which no part has its share."""
    with pytest.raises(UserError, match=r"the validation split of part 'low' holds \d+ windows of 16"):
        validation_windows(corpus, SEQ_LEN, 1000 * SEQ_LEN)
