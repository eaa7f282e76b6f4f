"""`python -m scaling_runs prepare data=…`: the corpus of a sweep, by itself and beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir

from scaling_runs.config import Config, register, typed
from scaling_runs.data import Corpus
from scaling_runs.data.index import not_here
from scaling_runs.data.prepare import find_prepared, prepare
from scaling_runs.numbers import count, number
from scaling_runs.stopping import stop_as_by_ctrl_c
from scaling_runs.usage import plain_errors, refuse_lists, refuse_misread

CONFIGS = Path(__file__).parents[1] / "configs"


def run_prepare(arguments: Sequence[str]) -> None:
    """Print what became of it; exits with 2 where the user is mistaken, with one sentence."""
    with plain_errors(again="to begin anew: nothing half-made is left"):
        stop_as_by_ctrl_c()
        print(prepare_as_asked(arguments))


def prepare_as_asked(arguments: Sequence[str]) -> str:
    """What was prepared, or had been, and where it is. UserError and Hydra's own where it can't be."""
    refuse_misread(arguments)
    refuse_lists(arguments)
    register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = typed(compose("config", overrides=list(arguments)))
    found = find_prepared(config.data, config.val_tokens)
    corpus = found or prepare(config.data, config.val_tokens)
    return "\n".join(_lines(config, corpus, already=found is not None))


def _lines(config: Config, corpus: Corpus, *, already: bool) -> list[str]:
    gone = not_here(config.data)
    cache = Path(config.data.cache_dir).resolve()
    lines = [f"{'prepared before' if already else 'prepared'}: {corpus.description}"]
    if gone is not None:
        lines.append(f"{str(gone).partition(';')[0]}: what was prepared of it before is used")
    for part in corpus.parts:
        lines.append(f"  {part.name}, {part.share:.1%} of the tokens: {_size(part.corpus)}")
    streamed = "" if _is_local(corpus) else "; what is streamed is read where it is"
    lines += [
        f"{_size(corpus)}; vocabulary {corpus.vocab_size:,}, {corpus.bytes_per_token:.2f} bytes a token",
        f"corpus {corpus.fingerprint[:16]} in {cache}, {_weight(cache)}",
        f"to use it elsewhere, copy that whole folder and add data.cache_dir=ITS-PLACE to the same options{streamed}",
    ]
    return lines


def _size(corpus: Corpus) -> str:
    documents = "" if corpus.train_documents is None else f" in {number(corpus.train_documents, 'document')}"
    declared = " as declared" if corpus.stream is not None else ""
    return (
        f"{count(corpus.train_tokens)} training tokens{declared}{documents}, {count(corpus.val_tokens)} for "
        f"validation in {number(corpus.val_documents, 'document')}"
    )


def _is_local(corpus: Corpus) -> bool:
    return all(one.stream is None for one in [corpus, *(part.corpus for part in corpus.parts)])


def _weight(folder: Path) -> str:
    return f"{count(sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()))}B"
