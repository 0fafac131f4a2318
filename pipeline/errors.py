"""The one error that is for the person at the terminal."""


class UserError(Exception):
    """Something that the user gave is wrong: says what, the value, what is allowed, and the file. Exit code 2."""
