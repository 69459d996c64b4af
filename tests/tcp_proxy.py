"""A server behind a line that can be cut, held up, or mute."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Proxy:
    """Passes connections on to a PostgreSQL server, and does something to them after some bytes.

    Args:
        server: The server's URL.
        after: How many bytes of a client, or which of its words, come through before.
        times: To how many connections it is done.
        then: What is done before the connection is cut.
        answered: Whether the server still hears those bytes, and answers.
    """

    def __init__(
        self,
        server: str,
        *,
        after: int | bytes = 1 << 40,
        times: int = 1,
        then: Callable[[], object] = lambda: None,
        answered: bool = False,
    ) -> None:
        settings = conninfo_to_dict(server)
        host = str(settings["host"])
        self._target = (
            f"{host}/.s.PGSQL.{settings['port']}"
            if host.startswith("/")
            else (host, int(settings.get("port", 5432)))
        )
        self._gate = socket.create_server(("127.0.0.1", 0))
        self._after, self._then, self._answered = after, then, answered
        self.left = times
        self.connections = 0
        self.open = threading.Event()  # while it is not set, nothing comes through
        self.open.set()
        self._clients: list[tuple[socket.socket, threading.Thread]] = []
        self.url = make_conninfo(
            server,
            host="127.0.0.1",
            port=self._gate.getsockname()[1],
            sslmode="disable",
            gssencmode="disable",
        )
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        _shut(self._gate)
        self._gate.close()
        for client, thread in self._clients:
            _shut(client)
            thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._gate.accept()
                self.connections += 1
                thread = threading.Thread(target=self._pass_on, args=(client,), daemon=True)
                self._clients.append((client, thread))
                thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        self.open.wait()
        family = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
        with client, socket.socket(family) as server, suppress(OSError):
            server.connect(self._target)
            down = threading.Thread(target=self._down, args=(server, client), daemon=True)
            down.start()
            with suppress(OSError):
                self._up(client, server)
            _shut(client)
            _shut(server)
            down.join()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        while data := client.recv(65536):
            passed += len(data)
            due = self._after in data if isinstance(self._after, bytes) else passed > self._after
            if self.left > 0 and due:
                self.left -= 1
                if self._answered:
                    client.shutdown(socket.SHUT_WR)  # the client hears nothing of it
                    server.sendall(data)
                    threading.Event().wait(0.2)
                self._then()
                return
            self.open.wait()
            server.sendall(data)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                self.open.wait()
                client.sendall(data)
        _shut(client)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
