"""The one kind of error that is a user's to mend."""


class UserError(ValueError):
    """What a user can cause: one sentence that names the thing, its value, what was expected and what to do."""


def reason_of(error: BaseException) -> str:
    """What a system or a library says went wrong, in one line."""
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
