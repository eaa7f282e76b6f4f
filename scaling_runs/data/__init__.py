"""From a corpus to batches.

A document is read (`sources.py`), dropped if its content was seen before, put on the training or the validation side
by the hash of its content, made into token ids and closed by a separator (`tokens.py`, `prepare.py`), and stands
then, in order of hash, in one of two long memory-mapped rows (`corpus.py`), from all over which windows are drawn
(`batches.py`). What prepares a corpus is imported from `scaling_runs.data.prepare`; a cell only reads one.
"""

from scaling_runs.data.batches import Batches, validation_windows
from scaling_runs.data.config import DataConfig
from scaling_runs.data.corpus import Corpus, load_corpus

__all__ = ["Batches", "Corpus", "DataConfig", "load_corpus", "validation_windows"]
