"""Ctrl-C and SIGTERM: at once as long as nothing is under way, and in good order from then on.

An exception in the middle of an import may come out as any other, and leaves half of a module behind.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the latter as batch systems send it
_leaving = False  # what was under way is in order, and the user is told how to go on


def end_at_once() -> None:
    """Have a signal end this process without another line of its code."""

    def end(number: int, frame: FrameType | None) -> None:
        if not _leaving:
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nInterrupted.\n")
            os._exit(130)

    for number in SIGNALS:
        signal.signal(number, end)


@contextmanager
def in_good_order() -> Iterator[None]:
    """A signal raises KeyboardInterrupt in here, and it leaves as one whatever error an import made of it.

    Elsewhere than in the main thread, which alone gets signals, nothing changes.
    """
    global _leaving
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    left = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not left:
            raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        _leaving = True
        raise
    except Exception as error:
        if _comes_of_interruption(error):
            _leaving = True
            raise KeyboardInterrupt from error
        raise
    finally:
        left = True
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _comes_of_interruption(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def leave() -> None:
    """All has been said: who insists need not wait for threads to end."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(130))
