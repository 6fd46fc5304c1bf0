"""A client that does nothing with what it gets: seconds for one download, in a process of its own."""

from __future__ import annotations

import json
import socket
import sys
import time

from tests.bench.wsgi import USER

HOST = "127.0.0.1"
ROOM = 1024 * 1024  # bytes


def fetched(port: int, path: str) -> tuple[int, int]:
    """The status and the number of bytes of a response's body."""
    buffer = bytearray(ROOM)
    with socket.create_connection((HOST, port), timeout=60) as connection:
        lines = (f"GET {path} HTTP/1.1", "Host: files.example.com", f"{USER}: ada@example.com", "Connection: close")
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        begun = connection.recv(ROOM)
        while b"\r\n\r\n" not in begun:
            begun += connection.recv(ROOM)
        head, _, body = begun.partition(b"\r\n\r\n")
        size = len(body)
        while received := connection.recv_into(buffer):
            size += received
    return int(head.split()[1]), size


def main() -> None:
    """Fetch what the command line names, and print how long it took."""
    port, path = sys.argv[1:]
    began = time.perf_counter()
    status, size = fetched(int(port), path)
    print(json.dumps({"seconds": time.perf_counter() - began, "status": status, "size": size}))


if __name__ == "__main__":
    main()
