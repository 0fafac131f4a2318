"""The reference of the commands, docs/commands.md, from the command line: `python -m pipeline.command_reference`."""

import sys
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from pipeline.command_line import app

HEAD = """# Commands

Every command of `wavenas` with its arguments and options. This page is made by `make docs/commands.md`.
Exit codes: 0 done, 1 the run failed, 2 something given was wrong, 130 interrupted.
"""


def command_reference() -> str:
    """Markdown with every command and what it takes."""
    return HEAD + "".join(_described(name, command) for name, command in _commands(get_command(app), "wavenas"))


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from _commands(inner, f"{name} {word}")


def _described(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    told = [(parameter.metavar or parameter.name.upper(), parameter.help) for parameter in arguments]
    told += [(", ".join([*option.opts, *option.secondary_opts]), option.help) for option in options]
    rows = "".join(f"| `{_in_cell(what)}` | {_in_cell(help_text or '')} |\n" for what, help_text in told)
    table = f"\n| takes | meaning |\n|---|---|\n{rows}" if rows else ""
    paragraphs = (command.help or "").strip().split("\n\n")
    return f"\n## {name}\n\n" + "\n\n".join(" ".join(part.split()) for part in paragraphs) + f"\n{table}"


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(command_reference())
