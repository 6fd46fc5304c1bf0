"""Werkzeug's response as Starlette's."""

from __future__ import annotations

import contextlib
import functools

import anyio.to_thread
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from werkzeug import wrappers

from bgtasks.contrib.chunks import Chunks

#: A client that goes away is not kept waiting for: the thread ends by itself.
_in_thread = functools.partial(anyio.to_thread.run_sync, abandon_on_cancel=True)


class Streamed(StreamingResponse):
    """Bytes that are fetched as they are sent, and no more of them once the client has gone."""

    def __init__(self, chunks: Chunks, status: int) -> None:
        super().__init__(chunks, status)
        self._chunks = chunks

    async def stream_response(self, send: Send) -> None:
        """Send it. Raises: what its source raises."""
        try:
            await super().stream_response(send)
        except Exception:
            # Starlette's BaseHTTPMiddleware (``@app.middleware("http")``) would end the response in good order, and
            # raise the error after that: half a file would look whole. This it can't pass on.
            with contextlib.suppress(Exception):
                await send({"type": "bgtasks.response.failed"})
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._chunks.close()


def asgi_response(response: wrappers.Response, http_request: wrappers.Request) -> Response:
    """The same response, streamed where ours is. What fails midway is raised: the server breaks the connection off.

    :param http_request: what ``werkzeug_request`` has made.
    """
    body, status, headers = response.get_wsgi_response(http_request.environ)
    code = int(status.partition(" ")[0])
    made = Response(b"".join(body), code) if response.is_sequence else Streamed(Chunks(body, _in_thread), code)
    made.raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return made
