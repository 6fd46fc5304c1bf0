"""A mail server, a receiver of webhooks that speaks TLS, and one that doesn't."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from bgtasks.stack import Mailbox
from tests.telling.receivers import Receiver, receiving

#: Another than the host's own: only a resolver of the tests' knows it.
NAME = "hooks.example.com"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Whoever vouches for the receiver's certificate."""
    return trustme.CA()


@pytest.fixture(scope="session")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """The receiver's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", NAME).configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process believes that authority, and no other."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


@pytest.fixture(scope="module")
def _secure(tls: ssl.SSLContext) -> Iterator[Receiver]:
    with receiving(tls) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def _plain() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(_secure: Receiver, trusted: None) -> Receiver:
    """Takes webhooks over TLS."""
    _secure.reset()
    return _secure


@pytest.fixture
def plain(_plain: Receiver) -> Receiver:
    """Takes them in the clear."""
    _plain.reset()
    return _plain


@pytest.fixture(scope="session")
def apprise() -> None:
    """Its modules are there: what it imports of Python's own warns that it won't be there for ever."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import apprise

        assert apprise.Apprise().add("json://localhost")


@pytest.fixture
def conf(request: pytest.FixtureRequest, mailbox: Mailbox) -> dict[str, Any]:
    """The mail server, and the settings that a test is parametrised with."""
    return {"bgtasks_smtp_url": mailbox.url, **getattr(request, "param", {})}
