"""Batches of a data set that is read while it is trained on."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.errors import UserError
from scaling_runs.data import Corpus, DataConfig, as_asked, load_corpus, validation_windows
from scaling_runs.data.hub import commit_of
from scaling_runs.data.prepare import find_prepared, prepare
from scaling_runs.data.stream import READ_AHEAD, StreamedBatches, lane_count
from tests.scaling_runs.data.corpora import by_hash, documents, documents_of
from tests.scaling_runs.data.streams import (
    ROWS_A_GROUP,
    on_validation_side,
    stream_config,
    streamed,
    training_tokens,
    write_data_set,
)

SEQ_LEN, BATCH = 16, 8
TEXTS = documents(160)
FILES = [TEXTS[:30], TEXTS[30:50], TEXTS[50:110], TEXTS[110:]]


@pytest.fixture(scope="module", params=["parquet", "jsonl"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Four files of unequal length: as many lanes, of two rows of a batch each."""
    folder = tmp_path_factory.mktemp("stream")
    return streamed(write_data_set(folder / "texts", FILES, request.param), folder / "cache")


def batches_of(corpus: Corpus, steps: int, **options: object) -> list[np.ndarray]:
    with StreamedBatches(corpus, SEQ_LEN, BATCH, seed=3, **options) as batches:  # type: ignore[arg-type]
        return [batches.batch(step) for step in range(batches.step, batches.step + steps)]


def test_a_lane_holds_its_files_text_in_order_without_a_gap(corpus: Corpus) -> None:
    """Truth: the training documents of the files that were written, tokenised by hand; each file is one lane's."""
    rows = np.stack(batches_of(corpus, 12))
    assert rows.shape == (12, BATCH, SEQ_LEN + 1)
    found = set()
    for lane in range(4):
        windows = rows[:, 2 * lane : 2 * lane + 2].reshape(-1, SEQ_LEN + 1)
        np.testing.assert_array_equal(windows[1:, 0], windows[:-1, -1])
        tokens = windows[:, :-1].ravel().tolist()
        (file,) = [
            number for number, texts in enumerate(FILES) if training_tokens(texts)[: len(tokens)] == tokens
        ]
        found.add(file)
    assert found == {0, 1, 2, 3}


def test_an_epoch_has_each_training_document_once_and_the_next_goes_on(corpus: Corpus) -> None:
    """Truth: the documents that were written, less the validation side's; read past the end of every file."""
    whole = max(len(training_tokens(texts)) for texts in FILES)
    steps = 2 * whole // (2 * SEQ_LEN)
    rows = np.stack(batches_of(corpus, steps))
    met: list[bytes] = []
    for lane in range(4):
        tokens = rows[:, 2 * lane : 2 * lane + 2, :-1].ravel()
        first = next(texts for texts in FILES if training_tokens(texts)[:100] == tokens[:100].tolist())
        own = len(training_tokens(first))
        met += documents_of(tokens[:own])
        then = tokens[own : own + 100].tolist()
        assert any(training_tokens(texts)[:100] == then for texts in FILES)
    assert sorted(met) == sorted(text.encode() for text in TEXTS if not on_validation_side(text))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_resume_anywhere_by_any_ranks_reads_the_same_batches(corpus: Corpus, data: st.DataObject) -> None:
    """Truth: the batches of one process that nothing disturbed, over the ends of files and epochs."""
    whole = batches_of(corpus, 60)
    step, places = 0, {}
    while step < 60:
        ranks = data.draw(st.sampled_from([1, 2, 4, 8]))
        steps = data.draw(st.integers(1, 60 - step))
        after: dict[int, dict[str, object]] = {}
        parts = []
        for rank in range(ranks):
            with StreamedBatches(
                corpus, SEQ_LEN, BATCH, 3, step=step, places=places, rank=rank, world_size=ranks
            ) as mine:
                parts.append([mine.batch(step + i) for i in range(steps)])
                after |= mine.lanes()
        for i in range(steps):
            np.testing.assert_array_equal(np.concatenate([part[i] for part in parts]), whole[step + i])
        step, places = step + steps, json.loads(json.dumps(after), object_pairs_hook=_whole_keys)


def _whole_keys(pairs: list[tuple[str, object]]) -> dict[object, object]:
    return {int(key) if key.isdigit() else key: value for key, value in pairs}


def test_seeds_read_files_in_other_orders(corpus: Corpus) -> None:
    """Truth: a batch of four lanes over four files is the same for one seed in 24."""
    first = set()
    for seed in range(12):
        with StreamedBatches(corpus, SEQ_LEN, BATCH, seed) as batches:
            first.add(batches.batch(0).tobytes())
    assert len(first) > 3


def test_a_resume_reads_no_group_of_rows_before_its_place(tmp_path: Path) -> None:
    """Truth: row groups before the place are overwritten on disk, where a replay would fail on the first of them."""
    folder = write_data_set(tmp_path / "texts", [documents(400)])
    corpus = streamed(folder, tmp_path / "cache")
    whole = batches_of(corpus, 120)
    with StreamedBatches(corpus, SEQ_LEN, BATCH, 3) as batches:
        for step in range(100):
            batches.batch(step)
        places = batches.lanes()
    (path,) = folder.glob("*.parquet")
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups == 400 // ROWS_A_GROUP
    group = places[0]["rows"]["examples_iterable"]["previous_state"]["shard_idx"]
    assert group > 15
    kept = metadata.row_group(group).column(0)
    with path.open("r+b") as file:
        file.seek(4)
        file.write(b"\xff" * ((kept.dictionary_page_offset or kept.data_page_offset) - 4))
    with pytest.raises(UserError, match="can't be read"):
        batches_of(corpus, 1)
    np.testing.assert_array_equal(batches_of(corpus, 20, step=100, places=places), whole[100:])


def test_validation_is_by_hash_and_is_never_trained_on(corpus: Corpus) -> None:
    """Truth: the rule, applied to the documents that were written; in order of hash; as many as were asked for."""
    assert corpus.stream is not None
    found = documents_of(corpus.val())
    there = [text for text in TEXTS if on_validation_side(text)]
    assert found == by_hash(found)
    assert set(found) <= {text.encode() for text in there}
    assert 200 < corpus.val_tokens < 200 + max(len(text.encode()) + 1 for text in there) + 1
    assert len(validation_windows(corpus, SEQ_LEN, 192)) == 12


def test_validation_is_met_all_over_the_data_set(corpus: Corpus) -> None:
    """Truth: the file that each document was written to."""
    found = documents_of(corpus.val())
    files = {number for number, texts in enumerate(FILES) for text in texts if text.encode() in found}
    assert len(files) >= 3


def test_a_stream_is_found_again_and_a_larger_validation_set_is_another_corpus(tmp_path: Path) -> None:
    """Truth: the fingerprint; a data set that was moved is the same one, and is read where it is now."""
    folder = write_data_set(tmp_path / "texts", FILES)
    config = stream_config(folder, tmp_path / "cache")
    corpus = prepare(config, 200)
    assert find_prepared(config, 200) == corpus == load_corpus(corpus.fingerprint, tmp_path / "cache")
    assert find_prepared(config, 400) is None
    assert prepare(config, 400).fingerprint != corpus.fingerprint
    moved = folder.rename(tmp_path / "moved")
    again = prepare(stream_config(moved, tmp_path / "cache"), 200)
    assert again.fingerprint == corpus.fingerprint
    assert batches_of(again, 1)[0].shape == (BATCH, SEQ_LEN + 1)


def test_a_stream_is_as_it_was_asked_for_last(tmp_path: Path) -> None:
    """Truth: the size and the folder of the last command, to which an earlier one had been the same."""
    first, second = (write_data_set(tmp_path / name, FILES) for name in ("first", "second"))
    cache = tmp_path / "cache"
    once = prepare(stream_config(first, cache, train_tokens=100), 200)
    other = prepare(stream_config(second, cache, train_tokens=300), 200)
    assert other.fingerprint == once.fingerprint
    shutil.rmtree(second)
    again = prepare(stream_config(first, cache, train_tokens=100), 200)
    assert again == once == load_corpus(once.fingerprint, cache)
    assert as_asked(once, stream_config(second, cache, train_tokens=300)).train_tokens == 300
    assert batches_of(again, 1)[0].shape == (BATCH, SEQ_LEN + 1)
    larger = stream_config(first, cache, train_tokens=500)
    found = find_prepared(larger, 200)
    assert found is not None
    assert found.train_tokens == 500
    assert found.fingerprint == once.fingerprint
    written = load_corpus(once.fingerprint, cache)
    assert written.train_tokens == 100
    assert prepare(larger, 200) == found == as_asked(written, larger)


def test_an_edit_that_keeps_a_file_s_size_is_another_data_set(tmp_path: Path) -> None:
    """Truth: one training document of many, of which one letter was changed; the validation set is the same."""
    folder = write_data_set(tmp_path / "texts", FILES, "jsonl")
    before = streamed(folder, tmp_path / "cache")
    path = folder / "train-00002.jsonl"
    text = path.read_text()
    trained_on = next(text for text in FILES[2] if not on_validation_side(text) and "loss" in text)
    changed = trained_on.replace("loss", "losS")
    assert not on_validation_side(changed)
    written = json.dumps(trained_on)
    path.write_text(text.replace(written, json.dumps(changed)))
    assert path.stat().st_size == len(text.encode())
    after = streamed(folder, tmp_path / "cache")
    assert after.fingerprint != before.fingerprint
    assert after.val().tobytes() == before.val().tobytes()


@pytest.mark.parametrize(
    ("batch_size", "files", "lanes"),
    [(8, 4, 4), (12, 5, 4), (7, 6, 1), (96, 2410, 48), (4, 1, 1), (256, 64, 64)],
)
def test_lanes_divide_the_batch_and_have_a_file_each(batch_size: int, files: int, lanes: int) -> None:
    """Truth: counted by hand; 64 at most."""
    assert lane_count(batch_size, files) == lanes


def test_reading_ahead_ends_with_the_batches(corpus: Corpus) -> None:
    """Truth: the threads of this process, before and after."""
    before = set(threading.enumerate())
    batches_of(corpus, READ_AHEAD + 1)
    assert set(threading.enumerate()) <= before


def test_large_batches_are_read_one_at_a_time(corpus: Corpus) -> None:
    """Truth: the epoch that a lane is in, which has read the batch in the works and one more: two batches far."""
    with StreamedBatches(corpus, 2**18, BATCH, seed=3) as batches:
        batches.batch(0)
        of_one = batches.lanes()[0]["epoch"]
        lane = batches._lanes[0]
    assert of_one > 0
    assert lane.epoch <= 2 * of_one + 2


def test_an_end_does_not_wait_for_all_batches_ahead(corpus: Corpus) -> None:
    """Truth: the epoch that a lane comes to in all of them, each of which takes it over its files several times."""
    with StreamedBatches(corpus, 2**13, BATCH, seed=3) as batches:
        for step in range(READ_AHEAD):
            batches.batch(step)
        whole = batches.lanes()[0]["epoch"]
    with StreamedBatches(corpus, 2**13, BATCH, seed=3) as batches:
        lane = batches._lanes[0]
    assert whole > 2 * READ_AHEAD
    assert lane.epoch < whole / 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "text_files"}, r"data\.on_disk=false is for data sets .* data\.kind is 'text_files'"),
        ({"streaming": False}, r"data\.streaming=false downloads"),
        ({"max_train_tokens": 5}, r"data\.max_train_tokens is 5, and what is not on disk"),
        ({"train_tokens": None}, r"data\.train_tokens is not set; .* say about how many"),
        ({"train_tokens": 0}, r"data\.train_tokens is 0; .* say about how many"),
    ],
)
def test_options_that_do_not_go_with_a_stream_are_named(change: dict[str, object], sentence: str) -> None:
    """Truth: the sentence names the option and what to do."""
    options = {"kind": "hf", "hf_path": "owner/texts", "on_disk": False, "train_tokens": 100} | change
    with pytest.raises(UserError, match=sentence):
        DataConfig(**options)  # type: ignore[arg-type]


def test_a_data_set_without_a_training_or_a_validation_side_is_one_sentence(tmp_path: Path) -> None:
    """Truth: documents chosen by their hash, all on one side."""
    sides = {side: [text for text in TEXTS if on_validation_side(text) is side] for side in (True, False)}
    only_training = write_data_set(tmp_path / "training", [sides[False]])
    with pytest.raises(UserError, match=r"none of its documents is on the validation side; .*val_fraction"):
        streamed(only_training, tmp_path / "cache")
    only_validation = write_data_set(tmp_path / "validation", [sides[True]])
    with pytest.raises(UserError, match="none of its 1 files holds text to train on"):
        batches_of(streamed(only_validation, tmp_path / "cache"), 1)


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_files_without_a_text_to_train_on_are_passed_over(tmp_path: Path, ending: str) -> None:
    """Truth: the training documents of the one file that has any, in each of four lanes; gone on with, the same."""
    validation = [text for text in TEXTS if on_validation_side(text)]
    folder = write_data_set(tmp_path / "texts", [TEXTS, validation[:4], validation[4:5], ["", ""]], ending)
    if ending == "jsonl":
        (folder / "train-00003.jsonl").write_text("")
    corpus = streamed(folder, tmp_path / "cache")
    rows = batches_of(corpus, 40)
    for lane in range(4):
        tokens = np.stack(rows)[:, 2 * lane : 2 * lane + 2, :-1].ravel().tolist()
        assert tokens == training_tokens(TEXTS)[: len(tokens)]
    with StreamedBatches(corpus, SEQ_LEN, BATCH, seed=3) as batches:
        for step in range(17):
            batches.batch(step)
        places = batches.lanes()
    np.testing.assert_array_equal(batches_of(corpus, 23, step=17, places=places), rows[17:])


def test_a_data_set_that_has_lost_a_file_is_one_sentence(tmp_path: Path) -> None:
    """Truth: four files when it was prepared, three afterwards."""
    folder = write_data_set(tmp_path / "texts", FILES)
    corpus = streamed(folder, tmp_path / "cache")
    (folder / "train-00003.parquet").unlink()
    with pytest.raises(UserError, match=r"has 3 files, and had 4 when this sweep was planned") as caught:
        batches_of(corpus, 1)
    assert "\n" not in str(caught.value)


def test_a_parquet_file_that_is_cut_short_is_one_sentence(tmp_path: Path) -> None:
    """Truth: half of a file, whose list of row groups was at its end; before the sweep, and in the midst of it."""
    folder = write_data_set(tmp_path / "texts", FILES)
    corpus = streamed(folder, tmp_path / "cache")
    path = folder / "train-00002.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (lambda: batches_of(corpus, 1), lambda: streamed(folder, tmp_path / "cache")):
        with pytest.raises(
            UserError, match=r"texts' \(split train\): file 'train-00002\.parquet' can't be read \("
        ) as caught:
            read()
        assert "\n" not in str(caught.value)


@contextmanager
def hub_that_answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server on this machine with the hub's interface for one data set, whose commit is abc123."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            known = re.match(r"/api/datasets/owner/texts", self.path) is not None
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"id": "owner/texts", "sha": "abc123"} if known else {}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_stream_keeps_to_the_commit_that_the_hub_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: what a server answers that the hub's own client asks; a folder has no commit, a wrong name is told."""
    assert commit_of(str(tmp_path)) is None
    with hub_that_answers(monkeypatch):
        assert commit_of("owner/texts") == "abc123"
        with pytest.raises(UserError, match=r"data set 'owner/nothing' can't be had of http") as caught:
            commit_of("owner/nothing")
    assert "\n" not in str(caught.value)
