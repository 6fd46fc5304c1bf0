"""An HTTP request to an address that was checked: the one that is connected to, whatever a name resolves to later.

A webhook's URL is a door out of the deployment's own network. Who controls its name may let it point at a service that
trusts its neighbours, such as a cloud's metadata; so it is resolved once, and nothing is followed (OWASP, "Server-Side
Request Forgery Prevention").
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import SplitResult

from bgtasks.errors import NotificationRefused, TransientError
from bgtasks.notifiers import addresses
from bgtasks.notifiers.addresses import Address

#: Seconds for the connection to one address, and for all of it, from the question for the name on.
CONNECT, WHOLE = 5.0, 15.0
PORTS = {"https": 443, "http": 80}
#: IPv6 addresses by which a translator reaches IPv4 ones (RFC 6052).
TRANSLATED = IPv6Network("64:ff9b::/96")
#: All that IANA has given out for the open Internet ("IPv6 Global Unicast Address Assignments"), but for examples
#: (RFC 9637). ``is_global`` also takes what nobody has given out, where a network's own translator may be (RFC 8215).
GIVEN_OUT, EXAMPLES = IPv6Network("2000::/3"), IPv6Network("3fff::/20")
#: Public addresses behind which each machine of a cloud finds that cloud's own services ("What is IP address
#: 168.63.129.16?", Azure).
OF_CLOUDS = (IPv4Address("168.63.129.16"),)


@dataclass(frozen=True)
class Answer:
    """What is read of an answer."""

    status: int
    retry_after: str | None  #: the header, as it was sent


def post(url: SplitResult, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> Answer:
    """Send a body, and return what the answer's head says. No redirect is followed.

    :param url: ``https://…``, or ``http://…``.
    :param allow_private: whether it may be within this machine or a private network.
    Raises: TransientError, NotificationRefused.
    """
    deadline = time.monotonic() + WHOLE
    with _opened(url, deadline, allow_private=allow_private) as line:
        return _exchange(line, url, body, headers, deadline)


def greet(url: SplitResult, *, allow_private: bool) -> None:
    """Connect as ``post`` does, and send nothing. Raises: TransientError, NotificationRefused."""
    with _opened(url, time.monotonic() + WHOLE, allow_private=allow_private):
        pass


@contextlib.contextmanager
def _opened(url: SplitResult, deadline: float, *, allow_private: bool) -> Iterator[socket.socket]:
    host, port = str(url.hostname), url.port or PORTS[url.scheme]
    found = _resolved(host, port, deadline)
    if not allow_private and not all(is_public(sockaddr[0]) for _, sockaddr in found):
        raise NotificationRefused("The webhook's host has an address that is not a public one.", "not_public")
    try:
        with addresses.connected(found, lambda: min(CONNECT, _left(deadline))) as plain:
            plain.settimeout(_left(deadline))
            if url.scheme == "http":
                yield plain
                return
            # The certificate is the name's, whichever of its addresses was taken.
            with ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secure:
                yield secure
    except (OSError, http.client.HTTPException) as error:
        raise TransientError("The webhook's receiver does not answer just now.") from error


def is_public(address: str) -> bool:
    """Whether an address is one of the open Internet, also where IPv6 only wraps it."""
    found = _unwrapped(ip_address(address.partition("%")[0]))
    if isinstance(found, IPv6Address) and (found not in GIVEN_OUT or found in EXAMPLES):
        return False
    return found.is_global and not found.is_multicast and found not in OF_CLOUDS


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _resolved(host: str, port: int, deadline: float) -> list[Address]:
    try:
        return addresses.resolved(host, port, deadline)
    except OSError as error:
        raise TransientError("The webhook's host can't be found just now.") from error


def _exchange(
    line: socket.socket, url: SplitResult, body: bytes, headers: Mapping[str, str], deadline: float
) -> Answer:
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(url.hostname), url.port)
    connection.auto_open = 0  # it never connects by itself
    connection.sock = _Line(line, deadline)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection.request("POST", target, body, dict(headers))
    answer = connection.getresponse()
    return Answer(answer.status, answer.getheader("Retry-After"))


class _Line:
    """What ``http.client`` needs of a socket, with one deadline for all of it: a slow answer can't go on for ever."""

    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line, self._deadline = line, deadline

    def sendall(self, data: Any) -> None:
        self._line.settimeout(_left(self._deadline))
        self._line.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self._receive), 4096)

    def close(self) -> None:
        """It is closed by whoever has opened it."""

    def _receive(self, buffer: Any) -> int:
        self._line.settimeout(_left(self._deadline))
        return self._line.recv_into(buffer)


class _Incoming(io.RawIOBase):
    def __init__(self, receive: Callable[[Any], int]) -> None:
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._receive(buffer)


def _left(deadline: float) -> float:
    """Seconds. Raises: TimeoutError, when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left
