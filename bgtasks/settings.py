"""The ``bgtasks_…`` settings: read once from the Celery app, validated, then frozen."""

from __future__ import annotations

import difflib
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from celery import Celery, current_app
from celery.loaders.default import Loader
from celery.utils.imports import import_from_cwd, symbol_by_name
from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bgtasks import locales, store_urls, web_urls
from bgtasks.errors import ImproperlyConfigured
from bgtasks.telling_settings import TellingSettings
from bgtasks.watching_settings import WatchingSettings

PREFIX = "bgtasks_"
DAY = 86_400

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
#: Holds a key or a password, and is therefore shown nowhere.
Secret = Field(repr=False)
#: A Python object, or the dotted path of one (``package.module:name``), imported when it is first used.
Importable = str | Any

#: Settings that are mappings, and therefore JSON objects in the environment.
MAPPINGS = ("store_options",)
DATABASES = ("sqlite", "postgresql", "postgres")

NO_KEY = """bgtasks_default_key is not set, and there is no default: whoever knows the key can sign links.
Make one, keep it secret, and give the same one to workers and web processes:
    export BGTASKS_DEFAULT_KEY=$(python3 -c 'import secrets; print(secrets.token_urlsafe(48))')
If your Celery app has it, import that app in this process first."""
NO_SETTINGS = (
    "The current Celery app has no bgtasks_ setting, and the default database is used: another than you may think. "
    "If your own app has settings, import it in this process first."
)

logger = logging.getLogger(__name__)


class Settings(TellingSettings, WatchingSettings):
    """One deployment's settings. Times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    #: The folder of celeryconfig.py, where relative paths start.
    root: Path = Field(default_factory=Path.cwd)

    #: Where the record lives: ``sqlite:///…`` or ``postgresql://…``.
    database_url: Annotated[str, Secret] = "sqlite:///var/bgtasks.db"
    #: Where finished files live: a folder, or ``s3://…``, ``gs://…``, ``az://…``.
    store_url: Annotated[str, Secret] = "var/files"
    #: Options of buckets by obstore's names, such as ``aws_server_side_encryption``: for all that they fit, or, below
    #: the beginning of a URL (``s3://bucket``), for those stores alone.
    store_options: Annotated[dict[str, Any], Secret] = {}

    #: The signing keys, oldest to newest: the last one signs, all of them are accepted.
    default_key: Annotated[tuple[str, ...], Secret]
    #: The namespace of this deployment's signatures; each purpose adds its own name.
    default_salt: str = Field("bgtasks", min_length=1)
    #: An object with ``dumps`` and ``loads`` for a token's payload (default: compact JSON).
    default_serializer: Importable | None = None
    #: How long a link works, from when its requester is told; None: for ever.
    default_max_age: Seconds | None = DAY
    #: An object with ``dump``, ``load`` and ``max_age`` to use instead of the built-in signer.
    default_signer: Importable | None = None

    #: What links begin with, such as ``https://files.example.com``. Never taken from a Host header.
    base_url: str | None = None
    #: Where an anonymous visitor is sent, with ``?next=`` a local path to come back to; None: they get 401.
    login_url: str | None = None
    #: ``smtp://user:password@host:587``; ``smtps://…`` for implicit TLS; ``?starttls=never|always|auto``.
    smtp_url: Annotated[str | None, Secret] = None
    #: The sender of mails.
    from_email: str | None = None
    #: ``environ -> requester or None``: who is asking (default: the server's REMOTE_USER).
    identify: Importable = "bgtasks.identity:remote_user"

    #: How long a running step holds its request without a sign of life.
    lease: Seconds = 60
    #: How long a message is believed to be in a queue before it is published again.
    patience: Seconds = 300
    #: How long a request may wait for its very first step, and an expired file for somebody who tells of it.
    give_up: Seconds = 7 * DAY
    #: How many times a request may be taken over from a dead worker.
    max_attempts: int = Field(3, ge=1)
    #: How long the row of an ended request is kept.
    retention: Seconds = 30 * DAY

    #: The prefix of an internal nginx location (``X-Accel-Redirect``), or None.
    sendfile: str | None = None
    #: Whether downloads are sent to a presigned URL of the bucket (``s3://…``), minted per click.
    redirect_to_store: bool = False

    @field_validator("redirect_to_store")
    @classmethod
    def _redirect_to_store(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not str(info.data.get("store_url", "s3://")).startswith("s3://"):
            raise ValueError("needs a bgtasks_store_url of s3://…: from a folder, gs:// and az:// files are streamed")
        return value

    @field_validator("default_key", mode="before")
    @classmethod
    def _keys(cls, value: object) -> tuple[str, ...]:
        keys = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
        if not keys or not all(isinstance(key, str) and len(key) >= 16 for key in keys):
            raise ValueError("must be a string of at least 16 characters, or a list of such strings, oldest to newest")
        return keys

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: str) -> str:
        try:
            kind = make_url(value).get_backend_name()
        except (ArgumentError, ValueError):  # whose text may show a part of the password
            kind = None
        if kind not in DATABASES:
            raise ValueError("must look like sqlite:///folder/file.db or postgresql://user:password@host/database")
        return value

    @field_validator("store_url", mode="before")
    @classmethod
    def _store_url(cls, value: object) -> str:
        return store_urls.checked(value)

    @field_validator("store_options", mode="before")
    @classmethod
    def _store_options(cls, value: object) -> dict[str, Any]:
        return store_urls.check_options({} if value is None else value)

    @field_validator(*web_urls.BEGINNINGS)
    @classmethod
    def _url(cls, value: str | None, info: ValidationInfo) -> str | None:
        return web_urls.checked(str(info.field_name), value) if value else None

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else None

    def path(self, relative: str) -> Path:
        """A path from a setting, absolute: relative ones start at celeryconfig.py's folder."""
        return (self.root / relative).resolve()

    def load(self, name: str) -> Any:
        """The object that an importable setting names. Raises: ImproperlyConfigured."""
        value = getattr(self, name)
        try:
            # As Celery finds celeryconfig.py and what it imports: a command's sys.path has no working directory.
            return symbol_by_name(value, imp=import_from_cwd) if isinstance(value, str) else value
        except (ImportError, AttributeError, ValueError) as error:
            raise ImproperlyConfigured(f"{PREFIX}{name}: can't import {value!r}: {error}") from error

    def required(self, name: str) -> str:
        """A setting that this use can't do without. Raises: ImproperlyConfigured."""
        value = getattr(self, name)
        if not value:
            raise ImproperlyConfigured(f"{PREFIX}{name} is not set, and a notification can't be sent without it")
        return str(value)


KNOWN = tuple(name for name in Settings.model_fields if name != "root")


def read(conf: Mapping[str, Any], environ: Mapping[str, str], root: Path) -> Settings:
    """Settings from a Celery configuration and the environment, which wins.

    Raises: ImproperlyConfigured, which names an unknown key's nearest known one.
    """
    given = {**_ours(conf), **_from_environ(environ)}
    if unknown := sorted(given.keys() - set(KNOWN)):
        raise ImproperlyConfigured("; ".join(map(_unknown, unknown)))
    if not given.get("default_key"):
        raise ImproperlyConfigured(NO_KEY)
    try:
        return Settings(root=root, **given)
    except ValidationError as invalid:
        faults = [f"{PREFIX}{fault['loc'][0]}: {fault['msg']}" for fault in invalid.errors(include_input=False)]
        raise ImproperlyConfigured("; ".join(faults)) from None


def _unknown(name: str) -> str:
    nearest = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5)
    return f"unknown setting {PREFIX}{name}" + (f": did you mean {PREFIX}{nearest[0]}?" if nearest else "")


def _ours(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(PREFIX): value for key, value in values.items() if key.startswith(PREFIX)}


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings in the environment: a list or a mapping where one is written as JSON, None where one is empty."""
    texts = _ours({name.lower(): text for name, text in environ.items() if name.isupper()})
    return {name: _from_text(name, text) for name, text in texts.items()}


def _from_text(name: str, text: str) -> Any:
    mark = "{" if name in MAPPINGS else "["
    if not text.startswith(mark):
        return text or None
    try:
        return json.loads(text)
    except ValueError:  # whose evidence is the text, which may be a key
        raise ImproperlyConfigured(
            f"{PREFIX}{name}: what begins with {mark} must be {'a list' if mark == '[' else 'an object'} in JSON"
        ) from None


def this_app() -> Celery:
    """The current Celery app itself, not Celery's proxy for it: something to key and to compare by."""
    app: Celery = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - the proxy's way
    return app


def is_configured(app: Celery) -> bool:
    """Whether an app is a deployment of bgtasks: it has a setting of ours."""
    return bool(_ours(configuration(app)))


def configuration(app: Celery) -> dict[str, Any]:
    """An app's configuration with Celery's names; one with a namespace (``CELERY_BGTASKS_LEASE``) too."""
    space = f"{app.namespace}_".lower() if app.namespace else ""  # type: ignore[attr-defined]
    return {key.lower().removeprefix(space) if space else key: value for key, value in app.conf.items()}


def config_root(app: Celery) -> Path:
    """The folder of the app's configuration module, or the working directory where it has none."""
    return config_folder(app) or Path.cwd()


def config_folder(app: Celery) -> Path | None:
    """The same; None: it has none. Of Django's settings it is their ``BASE_DIR``, where projects have one."""
    source = getattr(app, "_config_source", None) or os.environ.get("CELERY_CONFIG_MODULE")
    if source is None and isinstance(app.loader, Loader):  # the only one that looks for a module by itself
        source = "celeryconfig"
    try:
        found = symbol_by_name(source) if isinstance(source, str) else source
    except ImportError:
        return None
    base = None if isinstance(found, ModuleType) else getattr(found, "BASE_DIR", None)
    if base is not None:
        return Path(base).resolve()
    module = sys.modules[found.__module__] if isinstance(found, type) else found
    file = getattr(module, "__file__", None)
    return Path(file).resolve().parent if file else None


_read: WeakKeyDictionary[Celery, Settings] = WeakKeyDictionary()


def current(app: Celery | None = None) -> Settings:
    """The settings of an app, by default the current one; read when they are first asked for."""
    app = app or this_app()
    if app not in _read:
        _read[app] = read(configuration(app), os.environ, config_root(app))
        if not is_configured(app) and "database_url" not in _from_environ(os.environ):
            logger.warning(NO_SETTINGS)
    return _read[app]


def _root() -> Path | None:
    """The current app's folder; None where there are no settings, which is to be said even so."""
    try:
        return current().root
    except ImproperlyConfigured:
        return None


locales.find_catalogues_by(_root)
