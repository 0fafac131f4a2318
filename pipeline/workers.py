"""The workers of a cluster as far as a run looks after them: which there are, and their processes begun anew."""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from distributed import Client

log = logging.getLogger("wavenas")
A = TypeVar("A")
RESTART_TIMEOUT = 60.0  # seconds


class Workers:
    """Nothing here waits for a worker. `report` has a function called by whoever waits for results."""

    def __init__(self, client: Client, report: Callable[[Callable[[], None]], None]) -> None:
        self._client, self._report = client, report
        self._stuck: set[str] = set()  # busy for nobody, without a process that could be restarted

    def addresses(self) -> set[str]:
        """Of those there are; none while the connection to the scheduler is broken."""
        try:
            return set(self._client.nthreads())
        except (OSError, AttributeError):  # the latter where it was given up
            return set()

    def processing(self) -> dict[str, Collection[str]]:
        """The keys of the tasks that each has been given and has not done, by its address; none as above."""
        try:
            return dict(self._client.processing())
        except (OSError, AttributeError):
            return {}

    def restart(self, addresses: Sequence[str]) -> None:
        """Have processes ended and begun anew by their nannies."""
        if addresses:
            self._aside(self._restart, addresses)

    def retire(self, address: str) -> None:
        """Close a worker for good, unless it is the only one."""
        self._aside(self._retire, address)

    def _aside(self, function: Callable[[A], None], argument: A) -> None:
        threading.Thread(target=self._try, args=(function, argument), name=function.__name__, daemon=True).start()

    def _try(self, function: Callable[[A], None], argument: A) -> None:
        try:
            function(argument)
        except (AttributeError, KeyError, OSError, TimeoutError, ValueError) as error:
            log.info("%s %s: gone already (%s)", function.__name__.strip("_"), argument, error)

    def _restart(self, addresses: Sequence[str]) -> None:
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        with_nanny = [address for address in addresses if known.get(address, {}).get("nanny")]
        stuck = [address for address in addresses if address in known and address not in with_nanny]
        if stuck:
            log.warning("no process that could be restarted, so busy with a child given up: %s", ", ".join(stuck))
        self._stuck.update(stuck)
        if known and self._stuck >= known.keys():
            self._report(_raise_all_stuck)
        if with_nanny:
            self._client.restart_workers(with_nanny, timeout=RESTART_TIMEOUT, raise_for_error=False)

    def _retire(self, address: str) -> None:
        if len(self._client.nthreads()) > 1:
            log.warning("worker %s is closed: its device fails again and again", address)
            self._client.retire_workers([address], close_workers=True)


def _raise_all_stuck() -> None:
    raise RuntimeError("no worker is left: each is busy with a child that was given up, and has no process to restart")
