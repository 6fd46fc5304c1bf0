"""A real RabbitMQ server, as Debian packages it."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bgtasks.stack import HOST, Process, free_port, listens
from tests.support.services import missing

#: Where Debian has what its wrapper in /usr/sbin runs as another user.
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

#: What makes a virtual host, and lets everybody in. (rabbitmqctl takes most of a second for each of the two.)
NEW_VHOST = """
rabbit_vhost:add(<<"{0}">>, <<"tests">>),
rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{0}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).
"""


class RabbitMQ:
    """One server, with everything of its own: ports, folder, cookie, and the Erlang port mapper.

    It keeps no message beyond its end.
    """

    def __init__(self) -> None:
        if not PROGRAM.exists():
            missing("rabbitmq-server")
        self._folder = Path(tempfile.mkdtemp(prefix="bgtasks-rabbitmq-"))
        self._port, self._mapper_port = free_port(), free_port()
        self._node = f"bgtasks-{os.getpid()}@localhost"
        self._numbers, self._vhosts = itertools.count(1), list[str]()
        # The server would start a mapper that stays behind.
        mapper = [self._program("epmd"), "-port", str(self._mapper_port), "-address", HOST]
        self._mapper = self._process("epmd", *mapper)
        self._mapper.wait_until(lambda: listens(self._mapper_port))
        self.process = self._process("rabbitmq", str(PROGRAM))
        self._wait_until_ready()

    def _process(self, name: str, *argv: str) -> Process:
        env = {
            "HOME": str(self._folder),  # of the cookie
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._data),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            # The machine's own settings are nobody's business here.
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "none.plugins"),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": HOST,
        }
        return Process(name, argv, self._folder / f"{name}.log", self._folder, env)

    @staticmethod
    def _program(name: str) -> str:
        return shutil.which(name) or missing(name)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _wait_until_ready(self) -> None:
        self.process.wait_until(lambda: "completed with" in self.process.output())

    def new_vhost(self) -> str:
        """The URL of a virtual host that is empty, and stays at this place when the server forgets all."""
        if not self.process.running:
            self.start_empty()
        name = f"test{next(self._numbers)}"
        self._make(name)
        self._vhosts = [name]  # those of earlier tests are over
        return f"amqp://guest:guest@{HOST}:{self._port}/{name}"

    def _make(self, vhost: str) -> None:
        cookie = (self._folder / ".erlang.cookie").read_text()
        call = [self._program("erl_call"), "-c", cookie, "-sname", self._node, "-R", "-e"]
        env = {**os.environ, "ERL_EPMD_PORT": str(self._mapper_port)}
        done = subprocess.run(
            call, input=NEW_VHOST.format(vhost), env=env, check=True, capture_output=True, text=True, timeout=30
        )
        assert done.stdout == "{ok, ok}", done.stdout + done.stderr

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()

    def start_empty(self) -> None:
        """Start it again at the same place, with no queue and no message."""
        shutil.rmtree(self._data)
        self.process.start()
        self._wait_until_ready()
        for vhost in self._vhosts:
            self._make(vhost)

    def stop(self) -> None:
        """End it, and leave nothing behind."""
        self.kill()
        self._mapper.stop()
        shutil.rmtree(self._folder)
