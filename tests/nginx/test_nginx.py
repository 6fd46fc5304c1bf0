"""Downloads through a real nginx in front of a real gunicorn: nginx sends the files (``bgtasks_sendfile``)."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.stack import Process, free_port, listens, wait_for
from tests.conftest import new_sqlite
from tests.support.handmade import finished, fresh
from tests.support.services import missing
from tests.support.site import Site, ask

CONF = Path(__file__).parent / "nginx.conf"
CONTENTS = os.urandom(3_000_000)
PROGRAM = shutil.which("nginx") or "/usr/sbin/nginx"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind is enough here."""
    return new_sqlite(tmp_path)


@pytest.fixture
def site(parts: Deployment, database_url: str, tmp_path: Path) -> Iterator[Site]:
    """gunicorn and nginx for the test's deployment."""
    made = Site.beside(tmp_path, database_url, sendfile="/protected")
    yield made
    made.stop()


@pytest.fixture
def port(site: Site, tmp_path: Path) -> int:
    """Where nginx listens."""
    if not Path(PROGRAM).exists():
        missing("nginx")
    backend, port = site.start("-k", "gthread", "--threads", "4"), free_port()
    (tmp_path / "temp").mkdir()
    filled = {"$FOLDER": tmp_path, "$FILES": tmp_path / "files", "$PORT": port, "$BACKEND": backend}
    conf = re.sub(r"\$[A-Z]+\b", lambda found: str(filled[found[0]]), CONF.read_text())
    (tmp_path / "nginx.conf").write_text(conf if os.getuid() == 0 else conf.replace("user root;", ""))
    argv = [PROGRAM, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-e", str(tmp_path / "error.log")]
    nginx = Process("nginx", argv, tmp_path / "nginx.log", tmp_path, {})
    site.processes.append(nginx)
    nginx.wait_until(lambda: listens(port))
    return port


def path_of(ready: FileRequest) -> str:
    """Where the file is."""
    return f"/files/{toolbox.create_token(ready)}"


def test_nginx_sends_the_file(site: Site, port: int, parts: Deployment) -> None:
    """Its bytes, with every header that the file has without nginx; HEAD the same; and one download is counted."""
    ready = finished(CONTENTS)
    got, head = ask(port, path_of(ready)), ask(port, path_of(ready), "HEAD")
    assert (got.status, got.sha256) == (200, ready.sha256)
    assert (head.status, head.body) == (200, b"")
    direct = toolbox.serve(ready)
    direct.close()
    for headers in (got.headers, head.headers):
        for name in (*direct.headers.keys(), "Content-Length"):
            expected = str(len(CONTENTS)) if name in ("Content-Length", "X-Accel-Redirect") else direct.headers[name]
            assert headers.get_all(name, [expected]) == [expected]
        for name in ("ETag", "Repr-Digest", "Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options"):
            assert headers[name] == direct.headers[name]
        assert headers.get_all("Accept-Ranges") == ["bytes"]
        assert "X-Accel-Redirect" not in headers
    wait_for(lambda: fresh(parts, ready).downloads == 1, "the download is counted", 5)


CONDITIONS: list[tuple[dict[str, str], int]] = [
    ({"Range": "bytes=1000-1999"}, 206),
    ({"Range": "bytes=1000-1999", "If_Range": "ETAG"}, 206),
    ({"Range": "bytes=1000-1999", "If_Range": "MODIFIED"}, 206),
    ({"Range": "bytes=1000-1999", "If_Range": '"another"'}, 200),
    ({"Range": "bytes=1000-1999", "If_Match": "ETAG"}, 206),
    ({"Range": "bytes=1000-1999", "If_Unmodified_Since": "MODIFIED"}, 206),
    ({"Range": "bytes=1000-1999", "If_None_Match": '"another"'}, 206),
    ({"Range": "bytes=3000000-"}, 416),
    ({"If_None_Match": "ETAG"}, 304),
    ({"If_Modified_Since": "MODIFIED"}, 304),
    ({"If_Modified_Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200),
    ({"If_Match": '"another"'}, 412),
]


def test_parts_and_conditions_are_those_of_the_file(port: int, parts: Deployment) -> None:
    """nginx cuts the ranges out, and it compares with our ETag and our date, not with those of its disk."""
    ready = finished(CONTENTS)
    os.utime(str(parts.store.local_path(str(ready.object_key))), (2**31, 2**31))  # no file's time may play a part
    head = ask(port, path_of(ready), "HEAD").headers
    filled = {"ETAG": head["ETag"], "MODIFIED": head["Last-Modified"]}
    for said, status in CONDITIONS:
        answer = ask(port, path_of(ready), **{name: filled.get(value, value) for name, value in said.items()})
        assert answer.status == status, said
        if status == 206:
            assert answer.body == CONTENTS[1000:2000]
            assert answer.headers["Content-Range"] == f"bytes 1000-1999/{len(CONTENTS)}"
            assert answer.headers["ETag"] == head["ETag"]
            assert answer.headers["Repr-Digest"] == head["Repr-Digest"]
        elif status == 200:
            assert answer.sha256 == ready.sha256
        elif status == 416:
            assert answer.headers["Content-Range"] == f"bytes */{len(CONTENTS)}"


def test_a_broken_download_goes_on(port: int, parts: Deployment) -> None:
    """The beginning, then the rest: the same file, and one download."""
    ready = finished(CONTENTS)
    begun = ask(port, path_of(ready), Range="bytes=0-999999")
    rest = ask(port, path_of(ready), Range="bytes=1000000-", If_Range=begun.headers["ETag"])
    assert begun.body + rest.body == CONTENTS
    wait_for(lambda: fresh(parts, ready).downloads == 1, "the download is counted", 5)


def test_nobody_gets_past_us(port: int, parts: Deployment, tmp_path: Path) -> None:
    """Another user, a file that is gone, and the internal location itself."""
    ready = finished(CONTENTS)
    assert ask(port, path_of(ready), user="eve@example.com").status == 403
    assert ask(port, path_of(ready), user=None).status == 401
    for path in (f"/protected/{ready.object_key}", "/protected/", f"/files/../protected/{ready.object_key}"):
        assert ask(port, path).status == 404
    assert ask(port, "/protected/../nginx.conf").status == 404
    parts.store.delete(str(ready.object_key))
    assert ask(port, path_of(ready)).status == 404
    assert fresh(parts, ready).downloads == 0


@pytest.mark.parametrize(
    "name",
    ['Zoë\'s "flights".csv', "a\r\nX-Evil: 1.csv", "../../etc/passwd", "50% & more;.csv", "\u202egnp.csv", "é" * 300],
)
def test_hostile_names_go_through(port: int, parts: Deployment, name: str) -> None:
    """The disposition arrives as it was made, and brings nothing along."""
    ready = finished(CONTENTS[:10], name)
    expected: Any = toolbox.serve(ready)
    answer = ask(port, path_of(ready))
    assert answer.headers["Content-Disposition"] == expected.headers["Content-Disposition"]
    assert answer.headers["X-Evil"] is None
    assert answer.body == CONTENTS[:10]


def test_no_log_has_a_token(site: Site, port: int, parts: Deployment, tmp_path: Path) -> None:
    """Neither nginx's nor gunicorn's, for a download and for what went wrong."""
    ready = finished(CONTENTS)
    path = path_of(ready)
    for user in (None, ready.requester):
        ask(port, path, user=user)
    parts.store.delete(str(ready.object_key))
    ask(port, path)
    site.processes[0].kill()  # gunicorn is away: a bad gateway
    assert ask(port, path).status == 502
    log = tmp_path / "access.log"
    wait_for(lambda: len(log.read_text().splitlines()) == 4, "nginx has logged", 5)  # after it has answered
    access = log.read_text()
    assert re.findall(r"\] GET (\d+) ", access) == ["401", "200", "404", "502"]
    token = path.rpartition("/")[2]
    for text in (access, (tmp_path / "error.log").read_text(), site.log()):
        assert token[:20] not in text


def test_the_readme_has_this_configuration() -> None:
    """What is tested is what is recommended: the two locations and the log's format."""
    readme = (CONF.parents[2] / "README.md").read_text()
    here = CONF.read_text()
    for line in re.findall(r"^ +((?:add_header|etag|if_modified_since|log_format|internal).*;)", here, re.MULTILINE):
        assert re.sub(r" +", " ", line) in re.sub(r" +", " ", readme)
