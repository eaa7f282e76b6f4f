"""Whether the Hugging Face hub can be reached, asked once and quickly."""

from __future__ import annotations

import os

from fit.errors import UserError

TIMEOUT_S = 5.0


def require_hub(name: str, what: str, instead: str) -> None:
    """UserError within seconds where `name` is no local path and the hub does not answer.

    Its own client would try again for 23 s for a data set and 48 s for a tokeniser. With HF_HUB_OFFLINE=1 it
    asks nobody and looks in its cache, at once; that is left to it.
    """
    if os.path.exists(name):
        return
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_S)
    except Exception as error:  # httpx's or requests', by the client's version
        raise UserError(
            f"{what} '{name}' is no local path and {constants.ENDPOINT} can't be reached; connect, "
            f"set HF_HUB_OFFLINE=1 to use what the Hugging Face cache holds, {instead}"
        ) from error


def first_line(error: BaseException) -> str:
    """What a library's error says, in one line."""
    text = str(error.__cause__ or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def commit_of(data_set: str) -> str | None:
    """The commit that a data set of the hub stands at now; None of a local folder, or where nobody is to be asked."""
    if os.path.exists(data_set):
        return None
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return None
    require_hub(data_set, "data set", "or choose data=text_files")
    try:
        return HfApi().dataset_info(data_set).sha
    except Exception as error:  # the client's own, by what the hub says
        raise UserError(
            f"data set '{data_set}' can't be had of {constants.ENDPOINT} ({first_line(error)}); check its name"
        ) from error
