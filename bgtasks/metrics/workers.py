"""The numbers of a worker: its children tell its main process, which alone has them and shows them at a port.

By a pipe: a child that is killed has told what it counted until then, one that replaces it goes on, and nothing is
left behind on the disk.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time

from prometheus_client import start_http_server

from bgtasks.metrics.numbers import Numbers

#: Seconds between two tries to listen at a port that somebody else has: a worker that is just being replaced, say.
RETRY = 5.0
#: The longest line that no other one can come in between of (POSIX, PIPE_BUF, is 4096 on Linux).
LONGEST = 4096

logger = logging.getLogger(__name__)


class Worker:
    """The main process of a worker, and what its children have of it after their fork."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._pid = os.getpid()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)  # nobody's step waits for a number
        self._lost = 0

    def add(self, name: str, labels: tuple[str, ...], value: float) -> None:
        """Count: here, or in the main process."""
        if os.getpid() == self._pid:
            self._numbers.add(name, labels, value)
        else:
            self._tell(name, labels, value)

    def start(self, host: str, port: int) -> None:
        """Listen to the children, and to whoever asks at a port."""
        threading.Thread(target=self._listen, name="bgtasks numbers", daemon=True).start()
        threading.Thread(target=self._serve, args=(host, port), name="bgtasks metrics", daemon=True).start()

    def _tell(self, name: str, labels: tuple[str, ...], value: float) -> None:
        told = [(name, labels, value)] + ([("lost_counts", (), self._lost)] if self._lost else [])
        line = json.dumps(told).encode() + b"\n"
        try:
            if len(line) > LONGEST:
                raise ValueError(name)
            os.write(self._writing, line)
        except (OSError, ValueError):  # the pipe is full, or its reader is gone
            self._lost += 1
        else:
            self._lost = 0

    def _listen(self) -> None:
        with os.fdopen(self._reading, "rb") as lines:
            for line in lines:
                for name, labels, value in json.loads(line):
                    self._numbers.add(name, tuple(labels), value)

    def _serve(self, host: str, port: int) -> None:
        said = ""
        while True:
            try:
                server, _ = start_http_server(port, host, registry=self._numbers)
            except OSError as error:
                if said != str(error):  # once: it may be so for ever
                    said = str(error)
                    logger.error("metrics can't be served at %s:%s, where only one worker can: %s", host, port, said)
                time.sleep(RETRY)
            else:
                # A child that is forked from now on must not keep the port when its worker is gone.
                os.register_at_fork(after_in_child=server.socket.close)
                logger.info("metrics are served at http://%s:%s/metrics", host, port)
                return
