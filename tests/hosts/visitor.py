"""Somebody with a browser's manners: keeps cookies, follows nothing, and shows what really came over the wire."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

from bgtasks.stack import HOST

PAGE, DATA = "text/html", "application/json"


@dataclass(frozen=True)
class Answer:
    """What a server has answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    def field(self, name: str) -> str:
        """The value of a form's field."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found, self.text
        return found.group(1)

    def error_of(self, name: str) -> str:
        """What is said beside a field."""
        found = re.search(rf'id="{name}-error">\s*([^<]*?)\s*<', self.text)
        return found.group(1) if found else ""


class Visitor:
    """A client of one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    @contextlib.contextmanager
    def opened(
        self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer, to be read bit by bit."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        with contextlib.closing(connection):
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(method, target, body, {"Accept": PAGE, **cookies, **(headers or {})})
            response = connection.getresponse()
            self._keep(response)
            yield response

    def get(self, url: str, accept: str = PAGE, **headers: str) -> Answer:
        return self._ask("GET", url, None, {"Accept": accept, **headers})

    def head(self, url: str) -> Answer:
        return self._ask("HEAD", url, None, {})

    def post(self, url: str, fields: dict[str, str], accept: str = PAGE) -> Answer:
        form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": accept}
        return self._ask("POST", url, urlencode(fields).encode(), form)

    def send(self, url: str, data: Any) -> Answer:
        """POST JSON, as a program does."""
        return self._ask("POST", url, json.dumps(data).encode(), {"Content-Type": DATA, "Accept": DATA})

    def _ask(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        with self.opened(method, url, body, headers) as response:
            return Answer(response.status, response.headers, response.read())

    def _keep(self, response: http.client.HTTPResponse) -> None:
        for line in response.headers.get_all("Set-Cookie", []):
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
