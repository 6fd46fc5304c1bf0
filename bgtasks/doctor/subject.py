"""The deployment that is examined, as this process sees it. What several checks ask is asked once."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from celery import Celery
from celery.loaders.default import Loader
from sqlalchemy.engine import make_url

from bgtasks import database, engines, registry, settings
from bgtasks.database import Database
from bgtasks.doctor import inquiry
from bgtasks.doctor.findings import NotExaminedError, why
from bgtasks.doctor.inquiry import Answers
from bgtasks.errors import ImproperlyConfigured
from bgtasks.migrations import revisions
from bgtasks.settings import Settings

#: How long a check may wait for what another one has asked. Seconds.
WAIT = 4.5
KEY = f"{settings.PREFIX}default_key"
#: The settings in which a password may be, of Celery and of ours.
URLS = (
    "broker_url",
    "broker_read_url",
    "broker_write_url",
    "result_backend",
    "cache_backend",
    "bgtasks_database_url",
    "bgtasks_store_url",
    "bgtasks_smtp_url",
    "bgtasks_base_url",
    "bgtasks_login_url",
)
#: Other settings that are shown nowhere; some are mappings, in which some values are short and no secrets.
SECRETS = tuple(
    name
    for name, field in Settings.model_fields.items()
    if not field.repr and f"{settings.PREFIX}{name}" not in (*URLS, KEY)
)
LONG = 8

Answer = TypeVar("Answer")


class Shared(Generic[Answer]):
    """What several checks wait for; whoever comes first has it asked, in a thread that keeps nobody from ending."""

    def __init__(self, app: Celery, ask: Callable[[], Answer]) -> None:
        self._app, self._ask = app, ask
        self._answer: Future[Answer] = Future()
        self._asked = threading.Lock()
        self._deadline = 0.0

    def begin(self) -> None:
        """Have it asked, unless somebody has."""
        if self._asked.acquire(blocking=False):
            self._deadline = time.monotonic() + WAIT
            threading.Thread(target=self._run, daemon=True).start()

    def get(self) -> Answer:
        """The answer, or what was raised instead. Raises: TimeoutError."""
        self.begin()
        began = time.monotonic()
        return self._answer.result(max(0.0, (self._deadline or began + WAIT) - began))

    def _run(self) -> None:
        self._app.set_current()  # Celery's current app is a thread's own
        try:
            self._answer.set_result(self._ask())
        except BaseException as error:  # a user's module may even exit
            self._answer.set_exception(error)


class Subject:
    """One deployment.

    :param mail: where a test mail is sent to, if one is wanted.
    """

    def __init__(self, app: Celery, mail: str | None = None) -> None:
        self.app, self.mail = app, mail
        self.conf, self.fault = _configuration(app)
        root = settings.config_root(app) if self.fault is None else Path.cwd()
        environ = dict(os.environ)
        self.key_fault = self._fault_of_the_key(environ, root)
        if self.key_fault is not None:  # everything else can be examined nevertheless
            environ[KEY.upper()] = secrets.token_urlsafe(48)
        self._settings: Settings | None = None
        try:
            self._settings = settings.read(self.conf, environ, root)
        except ImproperlyConfigured as error:
            self.fault = self.fault or str(error)
        self.file_types = Shared(app, registry.names)
        self.opened = Shared(app, self._open)
        self._inquiry = Shared(app, lambda: inquiry.ask(app))

    @property
    def settings(self) -> Settings:
        """Raises: NotExaminedError."""
        if self._settings is None:
            raise NotExaminedError("the settings")
        return self._settings

    @property
    def record(self) -> Database:
        """The database, once it answers and has the tables. Raises: NotExaminedError."""
        try:
            opened, revision = self.opened.get()
        except NotExaminedError:
            raise
        except Exception as error:
            raise NotExaminedError("the database") from error
        if revision is None or (revision != revisions.head() and revision in revisions.known()):
            raise NotExaminedError("the database")
        return opened

    @property
    def workers(self) -> Answers:
        """What the workers answer. Raises: NotExaminedError."""
        try:
            return self._inquiry.get()
        except Exception as error:
            raise NotExaminedError("the broker") from error

    def hide(self, text: str) -> str:
        """A text without the keys and passwords of the configuration, whoever has put them there."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _fault_of_the_key(self, environ: Mapping[str, str], root: Path) -> str | None:
        alone = {name.upper(): text for name, text in environ.items() if name.upper() == KEY.upper()}
        try:
            settings.read({KEY: self.conf.get(KEY)}, alone, root)
        except ImproperlyConfigured as error:
            return str(error)
        return None

    def _open(self) -> tuple[Database, str | None]:
        """The database and the revision of its tables."""
        configured = self.settings
        url = engines.resolve(make_url(configured.database_url), configured.root)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            raise FileNotFoundError(url.database)  # to connect would make it
        opened = database.connect(configured.database_url, configured.root)
        return opened, revisions.of(opened)

    def _secrets(self) -> set[str]:
        given = [self.conf.get(name) for name in URLS] + [os.environ.get(name.upper()) for name in URLS]
        given += [os.environ.get("CELERY_BROKER_URL"), os.environ.get("CELERY_RESULT_BACKEND")]
        found = {password for url in _texts(given) for one in url.split(";") for password in _passwords(one)}
        found |= set(self._settings.default_key if self._settings else _texts([self.conf.get(KEY)]))
        given = [self.conf.get(f"{settings.PREFIX}{name}") for name in SECRETS]
        given += [getattr(self._settings, name, None) for name in SECRETS]
        found |= {text for value in given for text in _leaves(value) if len(text) >= LONG}
        return {secret for secret in found if len(secret) > 3}  # a shorter one would hide half the text


def _configuration(app: Celery) -> tuple[dict[str, Any], str | None]:
    """The app's configuration, or what is wrong with the module that it is in."""
    try:
        conf = settings.configuration(app)
        loader: Any = app.loader
        if isinstance(loader, Loader) and Path("celeryconfig.py").exists() and not settings.is_configured(app):
            loader.read_configuration(fail_silently=False)  # Celery takes one that can't be imported for none
    except Exception as error:
        return {}, f"the configuration can't be read: {why(error)}"
    return conf, None


def _leaves(value: Any) -> Iterator[str]:
    """The texts in a setting that may be a mapping or a list."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(one)


def _texts(given: Iterable[Any]) -> list[str]:
    flat = [one for value in given for one in (value if isinstance(value, list | tuple) else [value])]
    return [one for one in flat if isinstance(one, str)]


def _passwords(url: str) -> set[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()
    given = [parts.password or "", *(text for name, text in parse_qsl(parts.query) if engines.is_secret(name))]
    return {shape for password in given for shape in (password, unquote(password), quote(password))}
