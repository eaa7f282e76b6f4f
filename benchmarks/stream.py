"""How fast one process reads a streamed data set: tokens a second as bytes, and by a BPE that is trained on the text.

    python benchmarks/stream.py                # 64 MB of this machine's Python files, as .parquet on disk
    python benchmarks/stream.py 256            # MB

A process that trains reads ahead in threads while it does; here nothing is trained, so this is the most that it could
be fed with. The hub's connection is not in it. Beside it stands how long steps of training that take half
of that wait for their batches, by how many are read ahead.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from scaling_runs.data import Corpus, DataConfig, stream
from scaling_runs.data.prepare import prepare
from scaling_runs.data.sources import python_files, python_source

FILES = 8
ROWS_A_GROUP = 1000
SEQ_LEN, BATCH = 512, 64
SECONDS = 15.0
DEPTHS = (1, 2, 4, 8, 16)


def write_data_set(folder: Path, size: int) -> None:
    """`size` bytes of Python files, dealt out to FILES."""
    texts: list[str] = []
    there = 0
    for text in python_source(python_files()).documents():
        texts.append(text.decode(errors="replace"))
        there += len(text)
        if there >= size:
            break
    order = np.random.Generator(np.random.Philox(0)).permutation(len(texts))
    for number in range(FILES):
        rows = [texts[i] for i in order[number::FILES]]
        pq.write_table(pa.table({"text": rows}), folder / f"{number}.parquet", row_group_size=ROWS_A_GROUP)


def tokens_per_s(corpus: Corpus) -> float:
    """Read on end, from the second batch on."""
    with stream.StreamedBatches(corpus, SEQ_LEN, BATCH, seed=0) as batches:
        batches.batch(0)
        began, step = time.perf_counter(), 1
        while time.perf_counter() - began < SECONDS:
            batches.batch(step)
            step += 1
        return (step - 1) * BATCH * SEQ_LEN / (time.perf_counter() - began)


def waiting(corpus: Corpus, ahead: int, step_s: float) -> float:
    """Share of the time that steps of `step_s`, asleep as while a GPU computes, wait for their batches."""
    before, stream.READ_AHEAD = stream.READ_AHEAD, ahead
    try:
        with stream.StreamedBatches(corpus, SEQ_LEN, BATCH, seed=0) as batches:
            batches.batch(0)
            began, step, waited = time.perf_counter(), 1, 0.0
            while time.perf_counter() - began < SECONDS:
                asked = time.perf_counter()
                batches.batch(step)
                waited += time.perf_counter() - asked
                time.sleep(step_s)
                step += 1
            return waited / (time.perf_counter() - began)
    finally:
        stream.READ_AHEAD = before


def main() -> None:
    size = int(sys.argv[1]) if sys.argv[1:] else 64
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts"
        texts.mkdir()
        write_data_set(texts, size << 20)
        measured: dict[str, dict[str, float]] = {}
        for name, vocab_size in (("bytes", None), ("bpe", 32_000)):
            config = DataConfig(
                "hf",
                hf_path=str(texts),
                on_disk=False,
                train_tokens=10**9,
                tokenizer=name,
                vocab_size=vocab_size,
                val_fraction=0.01,
                cache_dir=str(Path(folder) / "cache"),
            )
            corpus = prepare(config, 65_536)
            found = {"tokens_per_s": tokens_per_s(corpus), "bytes_per_token": corpus.bytes_per_token}
            step_s = 2 * BATCH * SEQ_LEN / found["tokens_per_s"]
            for ahead in DEPTHS:
                found[f"waiting_{ahead}"] = waiting(corpus, ahead, step_s)
            measured[name] = found
    print(f"{'tokenizer':>10} {'tokens/s':>10} {'MB/s':>6}   waiting for batches, by batches read ahead")
    for name, found in measured.items():
        depths = "  ".join(f"{depth}: {found[f'waiting_{depth}']:.1%}" for depth in DEPTHS)
        speed = found["tokens_per_s"]
        print(f"{name:>10} {speed:>10,.0f} {speed * found['bytes_per_token'] / 1e6:>6.1f}   {depths}")
    machine = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    print(json.dumps({**machine, "megabytes": size, "measured": measured}))


if __name__ == "__main__":
    main()
