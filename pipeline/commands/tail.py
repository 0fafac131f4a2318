"""`wavenas tail`: the news of a run's log."""

import json
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Annotated, TextIO

import typer

from pipeline.commands.looking import AsJson
from pipeline.commands.options import RunFolder
from pipeline.exit_codes import exit_codes

FOLLOW_SECONDS = 1.0
ENTRY = re.compile(r"(\d{4}-\d\d-\d\d \S+) ([A-Z]+) (.*)")  # time, level, message


def register(app: typer.Typer) -> None:
    app.command()(tail)


def tail(
    run: RunFolder,
    lines: Annotated[int, typer.Option("-n", help="How many lines to begin with.", min=0)] = 10,
    follow: Annotated[bool, typer.Option(help="Go on while a driver is at work.")] = True,
    as_json: AsJson = False,
) -> None:
    """The news of a run's log; as JSON an object a line: time, level, message."""
    with exit_codes():
        from pipeline.run_folder import is_running, open_run

        paths, _ = open_run(run)
        if not paths.log.exists():
            return
        with paths.log.open(encoding="utf-8", errors="replace") as log:
            _print(deque(_news(log, as_json), maxlen=lines))
            while follow and is_running(paths):
                time.sleep(FOLLOW_SECONDS)
                _print(_news(_whole_lines(log), as_json))
            _print(_news(log, as_json))


def _whole_lines(log: TextIO) -> Iterator[str]:
    """The lines written since; one that is being written is left for later."""
    while True:
        before = log.tell()
        if not (line := log.readline()).endswith("\n"):
            log.seek(before)
            return
        yield line


def _news(lines: Iterable[str], as_json: bool) -> Iterator[str]:
    """Lines of a log; as JSON each is an entry, with what follows it, of a traceback, as part of its message."""
    if not as_json:
        yield from lines
        return
    entry: dict[str, str] | None = None
    for line in lines:
        if begun := ENTRY.match(line):
            if entry:
                yield json.dumps(entry) + "\n"
            entry = {"time": begun[1], "level": begun[2], "message": begun[3]}
        elif entry:
            entry["message"] += "\n" + line.rstrip("\n")
    if entry:
        yield json.dumps(entry) + "\n"


def _print(lines: Iterable[str]) -> None:
    typer.echo("".join(lines), nl=False)
