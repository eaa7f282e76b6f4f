"""Run tables among Hugging Face data sets, on the hub or in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fit.errors import UserError
from fit.sources.rows import Rows
from fit.text import one_line


def read_hub(name: str, split: str) -> Rows:
    """The rows of a split of the data set `name`, OWNER/DATASET[:CONFIG] or a local folder; nested columns as a.b.

    UserError where there is no such data set, config or split, or the hub can't be reached.
    """
    source = f"hf:{name}"
    path, _, config = name.partition(":")
    if not path:
        raise UserError(f"'{source}' names no data set; give hf:OWNER/DATASET, or hf:OWNER/DATASET:CONFIG")
    import datasets

    try:
        with _quiet():
            frame = datasets.load_dataset(path, config or None, split=split).flatten().to_pandas()
    except Exception as error:  # the hub's, pyarrow's, pandas's: each raises its own
        text = str(error).strip()
        what = text.splitlines()[0].rstrip(".") if text else type(error).__name__
        raise UserError(
            f"'{source}' has no split '{split}' that can be read ({what}); check its name, config, --split and the "
            f"connection"
        ) from None
    if frame.empty:
        raise UserError(f"'{source}' has no rows in its split '{split}'; a run table has a row a run")
    frame.columns = [one_line(str(column).strip()) for column in frame.columns]
    return Rows(source, frame, "row")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars, among which an error would be lost."""
    import datasets

    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()
