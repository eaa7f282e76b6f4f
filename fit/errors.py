"""The one kind of error that is a user's to mend."""


class UserError(ValueError):
    """What a user can cause: one sentence that names the thing, its value, what was expected and what to do."""
