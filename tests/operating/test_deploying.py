"""The README's units: what they start is started here, and stops as they say."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from bgtasks.stack import HOST, Process, Stack, free_port, listens, wait_for
from tests.operating.conftest import ROOT
from tests.support.services import missing

README = (ROOT / "README.md").read_text()
#: Each unit by the name of its file, such as ``exports-beat.service``.
UNITS = dict(re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", README, re.DOTALL))
COMMON = "exports-.service.d/common.conf"
QUEUE = "files.login_events"
WORKER = f"{QUEUE}@{socket.gethostname()}"
#: The programs of the virtual environment, where the README has it, and here.
THERE, HERE = "/srv/exports/.venv/bin/", f"{Path(sys.executable).parent}/"


def values(unit: str, key: str) -> list[str]:
    """What a unit says, or what it shares with the others."""
    return re.findall(rf"^{key}=(.*)$", UNITS[COMMON] + UNITS[unit], re.MULTILINE)


def command(unit: str, folder: Path) -> list[str]:
    """What systemd would execute, with this machine's paths and free ports."""
    [line] = values(unit, "ExecStart")
    known = {"STATE_DIRECTORY": str(folder), **environment(unit)}
    line = line.replace("%i", QUEUE).replace("%%", "%").replace(THERE, HERE)
    line = re.sub(r"\$\{(\w+)\}", lambda name: known[name[1]], line)
    return [re.sub(r"\b(8000|5555)$", lambda _: str(free_port()), word) for word in shlex.split(line)]


def environment(unit: str) -> dict[str, str]:
    """What the unit adds to it."""
    return dict(pair.split("=", 1) for line in values(unit, "Environment") for pair in shlex.split(line))


def port_of(argv: list[str]) -> int:
    """Where it shall listen."""
    return int(re.findall(r"(?::|--port=)(\d+)", " ".join(argv))[0])


@pytest.fixture(scope="module")
def started(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Process, list[str]]]]:
    """Everything that the README's units start, at once."""
    made = {}
    for unit in sorted(UNITS.keys() - {COMMON}):
        argv = command(unit, tmp_path_factory.mktemp("state"))
        env = {**environment(unit), "CELERY_CONFIG_MODULE": "celeryconfig"}  # the reference deployment's own schedule
        made[unit.removeprefix("exports-").removesuffix(".service")] = stack.add(unit, argv, **env), argv
    yield made
    for process, _ in made.values():
        process.kill()


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """Each is complete, and none has a word that systemd would ignore."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        missing("systemd-analyze")
    for name, text in UNITS.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.replace(THERE, HERE).replace("%i@", f"{QUEUE}@"))
    units = [name.replace("@", f"@{QUEUE}") for name in UNITS if name != COMMON]
    done = subprocess.run(
        [verify, "verify", "--man=no", *units],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.replace(str(tmp_path), "")) == (0, "", "")


def test_what_the_units_start_runs(started: dict[str, tuple[Process, list[str]]], stack: Stack) -> None:
    """A worker of its queue, beat, the web process and Flower; each is asked as its health checks ask."""
    assert started.keys() == {"worker@", "beat", "web", "flower"}
    (worker, _), (beat, _), (web, bound), (flower, shown) = (
        started[name] for name in ("worker@", "beat", "web", "flower")
    )
    worker.wait_until(lambda: f"{WORKER} ready." in worker.output())
    wait_for(lambda: listens(port_of(bound)) and listens(port_of(shown)), "nobody listens")
    beat.wait_until(lambda: "beat: Starting..." in beat.output())
    with pytest.raises(HTTPError) as refused:
        urlopen(f"http://{HOST}:{port_of(bound)}/requests", timeout=20)
    with refused.value:
        assert refused.value.code == 401
    with urlopen(f"http://{HOST}:{port_of(shown)}/healthcheck", timeout=20) as answer:
        assert answer.read() == b"OK"
    pinged = _health(stack, "celery inspect ping")
    assert f"{WORKER}: OK" in pinged.stdout, pinged.stdout + pinged.stderr
    assert web.running
    assert flower.running


def _health(stack: Stack, begins: str) -> subprocess.CompletedProcess[str]:
    """One of the README's health checks."""
    [line] = re.findall(rf"^{begins}.*?(?= +#|$)", README.partition("## Deploying")[2], re.MULTILINE)
    argv = shlex.split(line.replace("files.flights@$(hostname)", WORKER).replace("celery ", f"{HERE}celery ", 1))
    env = {"PATH": "/usr/bin:/bin", **stack.env}
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_told_to_stop_stops_in_time(started: dict[str, tuple[Process, list[str]]]) -> None:
    """Before systemd would kill it (90 seconds, where the unit says nothing), and without an error."""
    for process, _ in started.values():
        process.send(15)
    for name, (process, _) in started.items():
        unit = f"exports-{name}.service"
        timeout = float((values(unit, "TimeoutStopSec") or ["90"])[0])
        assert process.wait_until_ended(timeout) in (0, -15), process.output()[-2000:]


def test_an_environment_for_the_secrets_names_what_there_is() -> None:
    """Every name in the list of /etc/exports.env is one that is read."""
    section = README.partition("## Deploying")[2]
    names = re.findall(r"`((?:BGTASKS|CELERY)_[A-Z_]+)`", section)
    known = {"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"}
    settings = (f"BGTASKS_{line}" for line in re.findall(r"^\| `bgtasks_(\w+)`", README, re.MULTILINE))
    assert set(names) <= known | {name.upper() for name in settings}
    assert known < set(names)
