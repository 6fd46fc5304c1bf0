"""What can be seen of the configuration alone, and of who can use it."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select

from bgtasks import deployment, particulars, settings
from bgtasks.doctor.findings import Check, Finding, NotExaminedError, fault, ok, warning, why
from bgtasks.doctor.subject import Subject
from bgtasks.models import Event
from bgtasks.settings import Settings
from bgtasks.states import EventKind

MAKE_KEY = "export BGTASKS_DEFAULT_KEY=$(python3 -c 'import secrets; print(secrets.token_urlsafe(48))')"
#: A key that somebody can guess is shorter than this, has fewer characters than that, or has a word of these in it.
LENGTH, CHARACTERS, WORDS = 32, 12, ("changeme", "change-me", "change me", "insecure", "password", "example")
#: How many of the newest entries of the history are looked at: the table may be huge.
NEWEST = 100_000
REACH = 3.0  # seconds that our own address may take to answer


def settings_check(subject: Subject) -> Iterator[Finding]:
    """Whether they are valid, and mean what they seem to mean."""
    if subject.fault is not None:
        yield fault(f"{subject.fault}.", "mend it in the app's configuration or in the environment")
        return
    if not settings.is_configured(subject.app):
        where = "run this where celeryconfig.py is, or with -A; `celery bgtasks init` writes a new deployment"
        yield fault("no setting of bgtasks is in this app's configuration, so that the defaults hold.", where)
    yield from _risks(subject)
    yield ok(f"they are valid; relative paths start at {subject.settings.root}.")


def _risks(subject: Subject) -> Iterator[Finding]:
    if settings.config_folder(subject.app) is None and (relative := _relative(subject.settings)):
        yield warning(
            f"{' and '.join(relative)}: a relative path, and the app has no configuration module. It starts at the "
            "working directory, which each process may have another of.",
            "give the whole path",
        )
    if subject.conf.get("task_acks_late"):
        yield warning(
            "task_acks_late is on: Redis delivers long tasks again and again, and a worker exits when its broker "
            "restarts.",
            "task_acks_late = False  # the table recovers what a worker loses",
        )
    if accepted := sorted({"pickle", "yaml", "application/x-python-serialize"} & set(subject.conf["accept_content"])):
        yield warning(
            f"workers accept {', '.join(accepted)}: whoever can publish can run code in them.",
            'accept_content = ["json"]',
        )


def _relative(configured: Settings) -> list[str]:
    database, store = configured.database_url, configured.store_url
    found = {
        "bgtasks_database_url": database.startswith("sqlite:///") and not database.startswith("sqlite:////"),
        "bgtasks_store_url": "://" not in store and not store.startswith("/"),
    }
    return [name for name, is_relative in found.items() if is_relative]


def key_check(subject: Subject) -> Iterator[Finding]:
    """Whether it is there and strong, and links that are signed with it can be read."""
    if subject.key_fault is not None:
        if subject.conf.get("bgtasks_default_key") or "must be" in subject.key_fault:
            yield fault(f"{subject.key_fault}.", MAKE_KEY)
        else:
            yield fault("bgtasks_default_key is not set, and there is no default.", MAKE_KEY)
        return
    if _is_weak(subject.settings.default_key[-1]):
        yield warning("the newest key is one that somebody could guess.", MAKE_KEY)
    signer = deployment.current().default_signer
    if signer.load(signer.dump(["check"])) != ["check"]:
        yield fault("what is signed does not come back.", "mend bgtasks_default_signer or bgtasks_default_serializer")
    older = len(subject.settings.default_key) - 1
    yield ok("signs, and reads back" + (f"; {older} older ones are accepted." if older else "."))


def _is_weak(key: str) -> bool:
    return len(key) < LENGTH or len(set(key)) < CHARACTERS or any(word in key.lower() for word in WORDS)


def file_types_check(subject: Subject) -> Iterator[Finding]:
    """Whether the modules that register them can be imported."""
    try:
        names = subject.file_types.get()
    except Exception as error:
        yield fault(f"the modules of the app can't be imported: {why(error)}.", "mend what `imports` names")
        return
    if names:
        yield ok(", ".join(names) + ".")
    else:
        yield warning("none is registered.", "name the modules that register them in `imports`, or in bgtasks.install")


def base_url_check(subject: Subject) -> Iterator[Finding]:
    """Whether links lead to the files application."""
    url = subject.settings.base_url
    if url is None:
        yield fault("not set: no mail and no page can have a link.", 'bgtasks_base_url = "https://files.example.com"')
        return
    address = urlsplit(url)
    local = _is_local(address.hostname or "")
    if address.scheme == "http" and not local:
        yield warning(f"{url}: what is downloaded can be read on its way.", f"bgtasks_base_url = {'https' + url[4:]!r}")
    yield _reached(url)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reached(url: str) -> Finding:
    """What answers at our own address, when it is shown a link that is none."""
    address = urlsplit(url)
    remedy = "gunicorn --threads 8 'bgtasks.wsgi:application'  # where that address leads to"
    try:
        status, kind = _get(address, f"{address.path}/files/check")
    except ssl.SSLCertVerificationError as error:
        return fault(f"{url}: browsers refuse its certificate: {error.verify_message}.", "renew the certificate")
    except (OSError, http.client.HTTPException) as error:
        return warning(f"{url} can't be reached from this machine: {why(error)}.", remedy)
    if status == 400 and kind == "application/problem+json":
        return ok(f"the files application answers at {url}.")
    return warning(f"something else than the files application answers at {url} ({status}).", remedy)


def _get(address: Any, path: str) -> tuple[int, str]:
    """The status and the type of an answer; redirects are not followed."""
    secure = address.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(address.hostname, address.port, timeout=REACH)
    try:
        connection.request("GET", path, headers={"Accept": "application/json", "User-Agent": _agent()})
        answer = connection.getresponse()
        return answer.status, answer.headers.get_content_type()
    finally:
        connection.close()


def _agent() -> str:
    return f"celery-bgtasks/{particulars.VERSION}"


def identity_check(subject: Subject) -> Iterator[Finding]:
    """Whether anybody can be known by the files application."""
    chosen, default = subject.settings.identify, Settings.model_fields["identify"].default
    if not callable(subject.settings.load("identify")):  # raises what names the setting
        yield fault(f"bgtasks_identify: {chosen!r} can't be called.", "a function: environ -> requester or None")
    elif chosen != default:
        yield ok("bgtasks_identify is a function of your own.")
    elif _somebody_was_known(subject):
        yield ok("REMOTE_USER is set: people who download are known.")
    else:
        yield warning(
            "bgtasks_identify is the default, REMOTE_USER, and nobody who downloads was ever known. Unless the web "
            "server or a middleware sets it, everybody gets 401.",
            'bgtasks_identify = "myapp.web:identify"  # a function: environ -> requester or None',
        )


def _somebody_was_known(subject: Subject) -> bool:
    try:
        target = subject.record
    except NotExaminedError:  # it is the default that is told
        return False
    newest = select(func.max(Event.id) - NEWEST).scalar_subquery()
    known = select(Event.id).where(Event.id > newest, Event.kind == EventKind.DOWNLOADED, Event.actor.is_not(None))
    with target.reading() as session:
        return session.scalar(known.limit(1)) is not None


CHECKS = (
    Check("settings", "the configuration", settings_check),
    Check("key", "the signing key", key_check),
    Check("file_types", "the registered file types", file_types_check),
    Check("base_url", "where links lead", base_url_check),
    Check("identity", "who is asking", identity_check),
)
