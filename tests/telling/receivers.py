"""Real HTTP servers that keep what they are sent, and answer as they are told to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """An HTTP server on a free port; with a context, one that speaks TLS."""

    def __init__(self, context: ssl.SSLContext | None = None, address: str = HOST, port: int = 0) -> None:
        self.received: list[Received] = []
        self.names: list[str | None] = []  #: that clients have asked for when TLS began (SNI)
        self.statuses: list[int] = []  #: of the next answers; then it is 204
        self.location = ""
        self.retry_after = ""
        self.answer: Any = None  #: writes an answer of its own to the connection
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up is none of our faults
        self.port = int(self._server.server_address[1])
        if context is not None:
            context.sni_callback = lambda _, name, __: self.names.append(name)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.received.append(Received(handler.path, headers, body))
        if self.answer is not None:
            self.answer(handler.wfile)
            return
        handler.send_response(self.statuses.pop(0) if self.statuses else 204)
        if self.location:
            handler.send_header("Location", self.location)
        if self.retry_after:
            handler.send_header("Retry-After", self.retry_after)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def reset(self) -> None:
        """Forget what was."""
        for kept in (self.received, self.names, self.statuses):
            kept.clear()
        self.location, self.retry_after, self.answer = "", "", None

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def receiving(context: ssl.SSLContext | None = None, address: str = HOST, port: int = 0) -> Iterator[Receiver]:
    """A receiver that is stopped afterwards."""
    receiver = Receiver(context, address, port)
    try:
        yield receiver
    finally:
        receiver.stop()
