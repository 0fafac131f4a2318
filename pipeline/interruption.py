"""Ctrl-C and SIGTERM: at once as long as nothing is under way, and in good order from then on.

An exception in the middle of an import may come out as any other, and leaves half of a module behind.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def end_at_once() -> None:
    """Have Ctrl-C end this process without another line of its code."""

    def end(number: int, frame: FrameType | None) -> None:
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nInterrupted.\n")
        os._exit(130)

    signal.signal(signal.SIGINT, end)


@contextmanager
def in_good_order() -> Iterator[None]:
    """Ctrl-C, and SIGTERM as batch systems send it, raise KeyboardInterrupt in here, or out of here."""
    struck = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal struck
        struck = True
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception as error:
        if struck:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
