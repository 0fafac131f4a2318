"""A network of one wire between a driver and a scheduler, that a test cuts and mends."""

import contextlib
import random
import socket
import threading


def free_port() -> int:
    """One that no system hands out by itself, so that it stays free until it is taken."""
    while True:
        port = random.randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Proxy:
    """A network of one wire: connections to its port go to another, unless it is cut."""

    def __init__(self, target: int) -> None:
        self.port, self._target = free_port(), target
        self._flowing = threading.Event()
        self._flowing.set()
        self._open: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        """Take connections."""
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        """Break all connections and take none."""
        for end in [self._server, *self._open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def stall(self) -> None:
        """Carry nothing, and say nothing of it, until it flows again."""
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it was cut
            while True:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65_536):
                self._flowing.wait()
                sink.sendall(content)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
