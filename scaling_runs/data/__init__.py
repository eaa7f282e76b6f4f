"""From a corpus to batches.

A document is a Python file, a .txt, or a row of a .jsonl, a .parquet or a Hugging Face data set
(`sources.py`). It is dropped if its content was seen before, made into token ids, bytes or a tokeniser's
(`tokens.py`), and closed by a separator (`scratch.py`). The hash of its content, and nothing else, puts it on
the training or the validation side and gives its place there: each side is one long memory-mapped row of
documents in order of hash, the same on any machine (`prepare.py`, `corpus.py`). Windows are drawn from all
over the training row, across documents, each once an epoch (`batches.py`).

What prepares a corpus is imported from `scaling_runs.data.prepare`; a cell only reads one.
"""

from scaling_runs.data.batches import Batches, validation_fingerprint, validation_windows
from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, load_corpus

__all__ = ["Batches", "Corpus", "DataConfig", "load_corpus", "validation_fingerprint", "validation_windows"]
