"""Lines for people, as they are: paths, brackets and long lines are no markup and are not broken."""

from rich.console import Console


def say(console: Console, text: str) -> None:
    """Print a text to a terminal or a file."""
    console.print(text, highlight=False, soft_wrap=True, markup=False, emoji=False)
