"""The one exception that users are meant to read."""


class NucplanError(ValueError):
    """Input or state that nucplan refuses; the message is one sentence: what is wrong, where, and the way out.

    Commands print the message alone and leave with exit code 2.
    """
