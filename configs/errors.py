"""The one exception that means "your input, not our fault"."""


class InputError(ValueError):
    """Bad input: the message says in one line what is wrong, where, and the cure.

    Every launch script prints it as `error: ...` and exits with code 2.
    """
