"""Whatever a client sends, the files application answers it, and hands nothing to anybody who has no right to it.

``make fuzz`` tries 20,000 requests; the suite some hundreds.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from werkzeug.test import run_wsgi_app

from bgtasks import status_links, toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.states import State
from bgtasks.tokens import CANCEL, DELETE
from bgtasks.wsgi import application
from tests.conftest import BASE_URL
from tests.support.handmade import alter, finished, fresh, in_seconds

OWNER, STRANGER = "ada@example.com", "eve@example.com"
#: What must never come back as it is.
MARK = "<zq9 onload=x>"
INJECTED = "x\r\nX-Zq9: injected\r\n\r\n<zq9>"
SECRET = b"the bytes of somebody's file"

#: So many times the examples of the Hypothesis profile: 100, or 5,000 in ``make fuzz``.
TIMES = 4
EXAMPLES = hypothesis_settings(max_examples=TIMES * hypothesis_settings().max_examples)
PATIENTLY = hypothesis_settings(EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@dataclass(frozen=True)
class World:
    """What there is to attack."""

    parts: Deployment
    rows: dict[str, FileRequest]
    file_tokens: dict[str, str]  #: by name of the row
    status_tokens: dict[str, str]
    form_tokens: tuple[str, ...]  #: somebody else's
    own_forms: dict[str, str]  #: the owner's, to cancel each row

    @property
    def tokens(self) -> list[str]:
        """Good ones, whatever for; none of them lets anybody change anything."""
        return [*self.file_tokens.values(), *self.status_tokens.values(), *self.form_tokens]


_world: list[World] = []
_seen: set[tuple[str, int]] = set()
#: What is answered among other things; where one of them never is, the attacks have lost their edge.
USUAL = {
    *(("/files", code) for code in (200, 401, 403, 404, 405, 409, 410)),
    *(("/requests", code) for code in (200, 303, 401, 403, 405)),
}


@pytest.fixture(autouse=True)
def world(parts: Deployment) -> Iterator[World]:
    """Files in every state, and a good token of each kind for each."""
    ready = finished(SECRET, requester=OWNER)
    rows = {
        "ready": ready,
        "expired": alter(parts, finished(SECRET, requester=OWNER), expires_at=in_seconds(-1)),
        "pending": toolbox.add_request({}, "numbers", OWNER, schedule=True),
        "failed": alter(
            parts, toolbox.add_request({}, "numbers", OWNER), state=State.FAILED, error_code="x", error_message=MARK
        ),
    }
    files = {name: toolbox.create_token(row) for name, row in rows.items()}
    alter(parts, rows["expired"], expires_at=in_seconds(-1))
    pages = {name: status_links.token_of(row) for name, row in rows.items()}
    forms = tuple(
        status_links.form_token(action, row, STRANGER) for row in rows.values() for action in (CANCEL, DELETE)
    )
    own = {name: status_links.form_token(CANCEL, row, OWNER) for name, row in rows.items()}
    _world[:] = [World(parts, rows, files, pages, forms, own)]
    _seen.clear()
    yield _world[0]
    _world.clear()
    assert USUAL - _seen == set()


# -- what a client can send --------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=40), st.sampled_from([MARK, INJECTED, "", "\0", "%00", "../" * 9, "{{7*7}}", "é" * 40])
)
latin = texts.map(lambda text: text.encode("utf-8", "surrogatepass").decode("latin-1"))
#: A server lets no line ends through within a header, nor anything that is not Latin-1.
header_values = latin.map(lambda text: "".join(" " if c in "\r\n\0" else c for c in text))


@st.composite
def tokens(draw: st.DrawFn) -> str:
    """A token: good, bent, or any text."""
    good = st.sampled_from(range(12)).map(lambda number: _world[0].tokens[number % len(_world[0].tokens)])
    token = draw(st.one_of(good, texts))
    if token and draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(token) - 1))
        token = token[:place] + draw(st.sampled_from(["", "A", ".", "=", "-", "_", "\0", "/"])) + token[place + 1 :]
    return token


paths = st.one_of(
    st.deferred(lambda: st.sampled_from([f"/files/{token}" for token in _world[0].file_tokens.values()])),
    st.deferred(lambda: st.just(f"/files/{_world[0].file_tokens['ready']}")),
    st.deferred(lambda: st.sampled_from([f"/requests/{token}" for token in _world[0].status_tokens.values()])),
    st.builds("/files/{}".format, tokens()),
    st.builds("/requests/{}".format, tokens()),
    st.builds("/requests/{}/{}".format, tokens(), st.sampled_from(["cancel", "delete", "", "x"])),
    st.just("/requests"),
    st.builds("{}files//{}".format, st.sampled_from(["/", "//"]), tokens()),
    texts.map("/{}".format),
    texts,
).map(lambda path: path.encode("utf-8", "surrogatepass").decode("latin-1"))  # as PEP 3333 wants it

methods = st.one_of(
    st.sampled_from(["GET", "GET", "HEAD", "POST"]),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "", MARK]),
    st.from_regex(r"[A-Z!#$%&'*+.^_`|~0-9a-z-]{1,20}", fullmatch=True),
)

ranges = st.one_of(
    st.sampled_from(["bytes=0-0", "bytes=2-", "bytes=-3", "bytes=99-"]),
    st.sampled_from(
        ["bytes=0-", "bytes=-1", "bytes=5-2", "bytes=0-0,1-1", f"bytes={'9' * 400}-", "bytes=", "=", "x=0-1"]
    ),
    st.builds("bytes={}-{}".format, st.integers(-9, 99), st.integers(-9, 99)),
    header_values,
)
HEADERS: dict[str, SearchStrategy[str]] = {
    "HTTP_ACCEPT": st.one_of(
        st.sampled_from(["application/json", "text/html", "*/*;q=0", "application/*;q=2"]), header_values
    ),
    "HTTP_ACCEPT_LANGUAGE": st.one_of(st.sampled_from(["de", "xx-YY;q=0.1, *", "de-" * 60]), header_values),
    "HTTP_COOKIE": st.one_of(
        st.sampled_from(["tz=Europe/Zurich", "tz=../../etc/passwd", 'tz="\\999"; =; ;', "tz=\0"]), header_values
    ),
    "HTTP_RANGE": ranges,
    "HTTP_IF_RANGE": st.one_of(st.sampled_from(['"x"', 'W/"x"', "Mon, 99 Xyz 2026 25:61:61 GMT"]), header_values),
    "HTTP_IF_NONE_MATCH": st.one_of(st.sampled_from(["*", '"x", W/"y', '"']), header_values),
    "HTTP_IF_MATCH": st.one_of(st.sampled_from(["*", '"x"']), header_values),
    "HTTP_IF_MODIFIED_SINCE": st.one_of(st.just("Sun, 06 Nov 1994 08:49:37 GMT"), header_values),
    "HTTP_IF_UNMODIFIED_SINCE": st.one_of(st.just("Sun, 06 Nov 1994 08:49:37 GMT"), header_values),
    "HTTP_HOST": st.one_of(
        st.sampled_from(["evil.example.com", "a b", "[::1", "x" * 300, "evil.example.com:99999"]), header_values
    ),
    "HTTP_X_FORWARDED_HOST": header_values,
    "HTTP_X_FORWARDED_FOR": header_values,
    "HTTP_REMOTE_USER": st.just(OWNER),
    "HTTP_X_CSRF_TOKEN": st.one_of(tokens(), header_values).map(
        lambda text: text.encode("utf-8", "surrogatepass").decode("latin-1")
    ),
    "HTTP_AUTHORIZATION": header_values,
    "HTTP_TRANSFER_ENCODING": st.sampled_from(["chunked", "gzip", ""]),
    "HTTP_EXPECT": header_values,
    "HTTP_X_HTTP_METHOD_OVERRIDE": st.sampled_from(["DELETE", "POST"]),
    "CONTENT_TYPE": st.one_of(
        st.sampled_from(
            [
                "application/x-www-form-urlencoded",
                "multipart/form-data",
                "multipart/form-data; boundary=x",
                "multipart/form-data; boundary=" + "x" * 300,
                "application/json",
                "text/plain; charset=no-such-thing",
            ]
        ),
        header_values,
    ),
    "CONTENT_LENGTH": st.sampled_from(["", "0", "-1", "5", "999999999999", "x", "1e3", "٣"]),
    "QUERY_STRING": latin,
    "SCRIPT_NAME": st.sampled_from(["", "/exports", "//evil.example.com", "/\\evil.example.com"]),
    "wsgi.input_terminated": st.booleans(),  # type: ignore[dict-item]
}

bodies = st.one_of(
    st.binary(max_size=200),
    tokens().map(lambda token: b"csrf_token=" + quote_from_bytes(token.encode("utf-8", "surrogatepass")).encode()),
    st.just(b"csrf_token=" + b"x" * 40_000),
    st.just(b'--x\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\nx\r\n--x--\r\n'),
    st.just(b"--x\r\n" * 200),
    st.just(b"a=1&" * 5_000),
)


@st.composite
def forms(draw: st.DrawFn) -> dict[str, Any]:
    """The owner's form to cancel what goes on, where one thing is wrong; or for what is over, where nothing is."""
    there, row, method, user = _world[0], "pending", "POST", OWNER
    token = there.own_forms[row]
    match draw(st.sampled_from(["nothing", "user", "token", "method"])):
        case "nothing":
            row, token = "failed", there.own_forms["failed"]
        case "user":
            user = draw(st.sampled_from([STRANGER, ""]))
            token = draw(st.sampled_from([token, *there.form_tokens]))
        case "token":
            others = [*there.form_tokens, *(text for name, text in there.own_forms.items() if name != row)]
            token = draw(st.one_of(st.sampled_from(others), tokens()))
        case _:
            method = draw(st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]))
    body = b"csrf_token=" + quote_from_bytes(token.encode("utf-8", "surrogatepass")).encode()
    return {
        "PATH_INFO": f"/requests/{there.status_tokens[row]}/cancel",
        "REQUEST_METHOD": method,
        "REMOTE_USER": user,
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "QUERY_STRING": body.decode(),
        "wsgi.input": io.BytesIO(b"" if method == "GET" else body),
    }


@st.composite
def readings(draw: st.DrawFn) -> dict[str, Any]:
    """A look at a file or a page, with a good token; mostly by its owner."""
    there, name = _world[0], draw(st.sampled_from(["ready", "ready", "ready", "expired", "pending", "failed"]))
    conditions = [
        "HTTP_RANGE",
        "HTTP_RANGE",
        "HTTP_RANGE",
        "HTTP_IF_RANGE",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
    ]
    kind = draw(st.sampled_from(["files", "files", "requests"]))
    token = (there.file_tokens if kind == "files" else there.status_tokens)[name]
    return {
        "PATH_INFO": f"/{kind}/{token}",
        "REQUEST_METHOD": draw(st.sampled_from(["GET", "GET", "HEAD"])),
        "REMOTE_USER": draw(st.sampled_from([OWNER, OWNER, OWNER, STRANGER, ""])),
        (condition := draw(st.sampled_from(conditions))): draw(HEADERS[condition]),
    }


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A WSGI environment, as a server makes it of what a client sends."""
    body = draw(bodies)
    sent = {name: draw(values) for name, values in HEADERS.items() if draw(st.integers(0, 3)) == 0}
    return {
        "REQUEST_METHOD": draw(methods),
        "PATH_INFO": draw(paths),
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **sent,
        **draw(st.sampled_from([{}, {"REMOTE_USER": OWNER}, {"REMOTE_USER": STRANGER}, {"REMOTE_USER": ""}])),
        **draw(st.one_of(st.just({}), forms(), readings(), readings())),
    }


# -- what must hold ----------------------------------------------------------------------------------


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@PATIENTLY
@given(environ=requests())
def test_no_request_breaks_it_or_gets_what_is_not_its(environ: dict[str, Any]) -> None:
    """No 5xx, no markup or header of the client's, no other host, and neither file nor change without a right."""
    there = _world[0]
    sent = dict(environ)
    chunks, status, headers = run_wsgi_app(application, environ)
    body = b"".join(chunks)
    code = int(status[:3])
    _seen.add((path_kind(sent["PATH_INFO"]), 200 if code == 206 else code))
    event(f"{path_kind(sent['PATH_INFO'])}: {code}")
    assert 200 <= code < 500, status
    assert b"<zq9" not in body
    assert b"Traceback" not in body
    assert b'"//' not in body  # another host's address, and so is the next one for a browser
    assert b"/\\" not in body
    _check_headers(dict(headers), headers.to_wsgi_list())
    _check_rights(there, sent, code, body)
    assert fresh(there.parts, there.rows["pending"]).state == State.PENDING
    assert all(there.parts.requests.get(row.id) for row in there.rows.values())


def path_kind(path: str) -> str:
    """Which part of the application is meant, for the statistics."""
    return "/" + path.split("/")[1] if path.startswith(("/files/", "/requests")) else "elsewhere"


def _check_headers(headers: dict[str, str], pairs: list[tuple[str, str]]) -> None:
    assert not any(set(name + value) & set("\r\n\0") or "<zq9" in value for name, value in pairs)
    assert "X-Zq9" not in headers
    assert "Set-Cookie" not in headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in headers["Cache-Control"]
    where = headers.get("Location", "/")
    assert where.startswith(("/", BASE_URL))
    assert not where.startswith(("//", "/\\"))


def _check_rights(there: World, sent: dict[str, Any], code: int, body: bytes) -> None:
    """Bytes of a file go to its requester, by its own good link, and to nobody else."""
    path = sent["PATH_INFO"]
    is_owner = sent.get("REMOTE_USER") == OWNER
    if code in (200, 206) and path.startswith("/files/"):
        assert is_owner
        assert path == f"/files/{there.file_tokens['ready']}"
        assert sent["REQUEST_METHOD"].upper() in ("GET", "HEAD")  # Werkzeug takes "get" for GET
    else:
        assert SECRET not in body
    if not is_owner:
        assert b"zq9" not in body  # the owner's pages have it as text
        assert not any(row.id.encode() in body for row in there.rows.values())
