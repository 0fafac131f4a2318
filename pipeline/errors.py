"""The errors that are for the person at the terminal."""


class UserError(Exception):
    """Something that the user gave is wrong: says what, the value, what is allowed, and the file. Exit code 2."""


class DamagedError(UserError):
    """A file is not as it was written: says which, and how that shows."""


class DiskError(Exception):
    """A file of a run that is under way cannot be written: says which, and why. Exit code 1."""
