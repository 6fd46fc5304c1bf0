"""The ``bgtasks_…`` settings: read once, validated, frozen, and never shown where they are secret."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from pydantic import ValidationError

from bgtasks import settings
from bgtasks.errors import ImproperlyConfigured

KEY = "a key that is long enough"
SECRET = "hunter2-hunter2-hunter2"


def read(environ: dict[str, str] | None = None, **conf: Any) -> settings.Settings:
    """Settings from these, in the configuration and in the environment."""
    given = {"default_key": KEY, **conf}
    named = {f"bgtasks_{name}": value for name, value in given.items() if value is not ...}
    return settings.read(named, environ or {}, Path("/srv/app"))


def test_everything_but_the_key_has_a_default() -> None:
    """The defaults are the documented ones."""
    made = read()
    assert (made.database_url, made.store_url) == ("sqlite:///var/bgtasks.db", "var/files")
    assert (made.default_salt, made.default_max_age) == ("bgtasks", 86400)
    assert (made.lease, made.patience, made.max_attempts) == (60, 300, 3)
    assert (made.give_up, made.retention) == (7 * 86400, 30 * 86400)
    assert (made.base_url, made.login_url, made.smtp_url, made.sendfile) == (None,) * 4
    assert made.redirect_to_store is False


@pytest.mark.parametrize("key", [..., None, "", [], ()])
def test_without_a_key_one_is_told_how_to_make_it(key: Any) -> None:
    """There is no default key: whoever knows it can sign links."""
    with pytest.raises(ImproperlyConfigured, match=r"BGTASKS_DEFAULT_KEY=\$\(python3 -c"):
        read(default_key=key)


@pytest.mark.parametrize("key", ["short", ["long enough, this one", "short"], 1234567890123456, [None], {"a": "b"}])
def test_a_key_must_be_long(key: Any) -> None:
    """Also each one of several."""
    with pytest.raises(ImproperlyConfigured, match=r"bgtasks_default_key: .*at least 16 characters"):
        read(default_key=key)


@pytest.mark.parametrize(("key", "keys"), [(KEY, (KEY,)), ([KEY, KEY[::-1]], (KEY, KEY[::-1]))])
def test_one_key_or_several_oldest_to_newest(key: Any, keys: tuple[str, ...]) -> None:
    """So that they can rotate."""
    assert read(default_key=key).default_key == keys


BAD: list[tuple[str, Any]] = [
    ("lease", 0), ("lease", -1), ("lease", "soon"), ("lease", None), ("lease", "inf"), ("lease", float("nan")),
    ("patience", 0), ("give_up", 0), ("retention", -5), ("max_attempts", 0), ("max_attempts", 2.5),
    ("default_max_age", 0), ("default_max_age", "1 day"), ("default_salt", ""), ("default_salt", None),
    ("redirect_to_store", "perhaps"), ("redirect_to_store", True), ("base_url", "files.example.com"), ("base_url", "ftp://files.example.com"),
    ("base_url", 8), ("login_url", "login"), ("login_url", "javascript:alert(1)"), ("smtp_url", "mail.example.com"),
    ("smtp_url", "http://mail.example.com"), ("sendfile", "protected/"), ("database_url", "var/bgtasks.db"),
    ("database_url", "mysql://localhost/files"), ("database_url", ""), ("database_url", None),
    ("store_url", ""), ("store_url", "file://var/files"), ("store_url", "ftp://host/files"), ("store_url", 5),
    ("from_email", 5), ("base_url", "https://ada:secret@files.example.com"), ("base_url", "https://ada@files.example.com/app"),
    ("base_url", "https://files.example.com:port"), ("base_url", "http://[::1"),
    ("smtp_url", "smtp://mailer:a/pass@host:25"), ("smtp_url", "smtp://mail.example.com:70000"),
    ("login_url", "https://ada:secret@sso.example.com/"), ("login_url", "//ada:secret@sso.example.com/"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_an_error_that_names_its_setting(name: str, value: Any) -> None:
    """When the settings are read, not when they are first used."""
    with pytest.raises(ImproperlyConfigured, match=f"bgtasks_{name}: "):
        read(**{name: value})


@pytest.mark.parametrize("store_url", [..., "srv/files", "gs://bucket", "az://container/prefix"])
def test_only_an_s3_bucket_can_be_redirected_to(store_url: Any) -> None:
    """For the others nobody can sign the file's name; the sentence says what happens there."""
    with pytest.raises(ImproperlyConfigured, match=r"bgtasks_redirect_to_store: .*s3://….*files are streamed"):
        read(redirect_to_store=True, store_url=store_url)
    assert read(redirect_to_store=True, store_url="s3://bucket/prefix").redirect_to_store


def test_every_fault_is_named_at_once() -> None:
    """Nobody has to start a worker three times to find three typing errors."""
    with pytest.raises(ImproperlyConfigured, match=r"bgtasks_lease: .*; bgtasks_patience: "):
        read(lease=-1, patience=-1)


GOOD: list[tuple[str, Any, Any]] = [
    ("lease", 0.5, 0.5), ("max_attempts", 1, 1), ("default_max_age", None, None),
    ("base_url", "https://files.example.com/app/", "https://files.example.com/app"), ("base_url", "", None),
    ("login_url", "/login?as=ada@example.com", "/login?as=ada@example.com"),
    ("login_url", "/login", "/login"), ("login_url", "https://sso.example.com/", "https://sso.example.com/"),
    ("smtp_url", "smtps://u:p@mail.example.com:465", "smtps://u:p@mail.example.com:465"),
    ("sendfile", "/protected", "/protected"), ("store_url", "s3://bucket/prefix", "s3://bucket/prefix"),
    ("store_url", "/srv/files", "/srv/files"), ("store_url", Path("/srv/files"), "/srv/files"),
    ("database_url", "postgres://u:p@db/x", "postgres://u:p@db/x"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_a_good_value_is_taken(name: str, value: Any, expected: Any) -> None:
    """As it is written, but for a base URL's last slash."""
    assert getattr(read(**{name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("leese", "lease"), ("max_atempts", "max_attempts"), ("DEFAULT_KEYS".lower(), "default_key"), ("root", None)],
)
@pytest.mark.parametrize("in_environment", [False, True])
def test_an_unknown_setting_names_the_nearest_known_one(name: str, nearest: str | None, in_environment: bool) -> None:
    """A typing error must not leave a default in force, wherever it is made."""
    environ = {f"BGTASKS_{name.upper()}": "x"} if in_environment else {}
    with pytest.raises(ImproperlyConfigured, match=f"unknown setting bgtasks_{name}") as caught:
        read(environ, **({} if in_environment else {name: "x"}))
    if nearest:
        assert f"did you mean bgtasks_{nearest}?" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("LEASE", "2.5", 2.5),
        ("MAX_ATTEMPTS", "5", 5),
        ("REDIRECT_TO_STORE", "false", False),
        ("DEFAULT_MAX_AGE", "", None),
        ("BASE_URL", "", None),
        ("STORE_URL", "/srv/other", "/srv/other"),
        ("DEFAULT_KEY", f'["{KEY}", "{SECRET}"]', (KEY, SECRET)),
        ("DEFAULT_KEY", SECRET, (SECRET,)),
    ],
)
def test_the_environment_overrides_the_configuration(name: str, text: str, expected: Any) -> None:
    """A list is written as JSON; empty means none."""
    conf = {"lease": 9, "base_url": "https://files.example.com"}
    assert getattr(read({f"BGTASKS_{name}": text}, **conf), name.lower()) == expected


def test_other_variables_are_nobodys_settings() -> None:
    """Only capitals, and only our prefix."""
    assert read({"bgtasks_lease": "1", "MY_BGTASKS_LEASE": "2", "LEASE": "3"}).lease == 60


def test_settings_are_frozen() -> None:
    """What was read is what holds."""
    with pytest.raises(ValidationError, match="frozen"):
        read().lease = 1


@pytest.mark.parametrize("shown", [repr, str])
def test_what_is_secret_is_not_shown(shown: Any) -> None:
    """Neither a key nor a password is in the settings' text: that is what a log or an error report has."""
    made = read(
        default_key=SECRET,
        database_url=f"postgresql://user:{SECRET}@localhost/files",
        smtp_url=f"smtp://user:{SECRET}@mail.example.com",
    )
    assert SECRET not in shown(made)


@pytest.mark.parametrize(
    "conf",
    [
        {"default_key": SECRET[:8]},
        {"default_key": {SECRET: SECRET}},
        {"database_url": f"postgresql://user:{SECRET}:@localhost:{SECRET}/files"},
        {"database_url": SECRET},
        {"smtp_url": f"user:{SECRET}@mail.example.com"},
        {"store_url": f"ftp://user:{SECRET}@host"},
        {"base_url": f"https://user:{SECRET}@host"},
        {"login_url": f"https://user:{SECRET}@host/login"},
        {"lease": SECRET},
    ],
    ids=lambda conf: next(iter(conf)),
)
def test_an_error_does_not_show_the_value(conf: dict[str, Any]) -> None:
    """It names the setting and what is wrong with it; the value may be a secret in the wrong place."""
    with pytest.raises(ImproperlyConfigured) as caught:
        read(**conf)
    assert SECRET[:8] not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_list_that_is_no_json_is_an_error_that_does_not_show_it() -> None:
    """A key that begins with a bracket by chance, for example."""
    with pytest.raises(ImproperlyConfigured, match=r"bgtasks_default_key: .* list in JSON") as caught:
        read({"BGTASKS_DEFAULT_KEY": f"[{SECRET}"})
    assert SECRET not in str(caught.value)


def test_relative_paths_start_at_the_root() -> None:
    """An absolute one stays where it is."""
    assert read().path("var/files") == Path("/srv/app/var/files")
    assert read().path("/srv/files") == Path("/srv/files")


def test_an_importable_setting_may_be_an_object_or_its_path() -> None:
    """It is imported when it is first used."""
    assert read(identify="os.path:join").load("identify") is os.path.join
    assert read(identify=read).load("identify") is read
    with pytest.raises(ImproperlyConfigured, match=r"bgtasks_identify: can't import 'no.such:thing'"):
        read(identify="no.such:thing").load("identify")


def test_an_importable_setting_is_found_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the working directory, where Celery looks as well; it is not in the sys.path of ``celery bgtasks check``."""
    (tmp_path / "who_asks.py").write_text("def identify(environ):\n    return 'ada'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert read(identify="who_asks:identify").load("identify")({}) == "ada"
    assert str(tmp_path) not in sys.path


def test_a_setting_that_is_needed_now_is_named() -> None:
    """For example where links begin."""
    with pytest.raises(ImproperlyConfigured, match="bgtasks_base_url is not set"):
        read().required("base_url")


# -- the app ------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with configuration modules, which is not the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "my_configuration.py").write_text(
        f"bgtasks_default_key = {KEY!r}\nclass Config:\n    bgtasks_default_key = {KEY!r}\n"
    )
    (folder / "with_namespace.py").write_text(f"CELERY_BGTASKS_DEFAULT_KEY = {KEY!r}\nCELERY_BGTASKS_LEASE = 7\n")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in ("my_configuration", "with_namespace"):
        sys.modules.pop(name, None)


def an_app(source: str | None = None, **options: Any) -> Celery:
    """An application's own app, configured from a module."""
    app = Celery("application", set_as_current=False)
    if source:
        app.config_from_object(source, **options)
    return app


@pytest.mark.parametrize("source", ["my_configuration", "my_configuration:Config"])
def test_the_root_is_the_folder_of_the_configuration(elsewhere: Path, source: str) -> None:
    """Wherever the process was started."""
    assert settings.current(an_app(source)).root == elsewhere


class LikeDjangos:
    """Settings as Django has them: an object, which is no module and has no file."""

    def __init__(self, folder: Path) -> None:
        self.BASE_DIR = folder
        self.CELERY_BGTASKS_DEFAULT_KEY = KEY


def test_the_root_is_djangos_base_dir(tmp_path: Path) -> None:
    """A Django project's processes find the same files, wherever each of them was started."""
    app = Celery("application", set_as_current=False)
    app.config_from_object(LikeDjangos(tmp_path), namespace="CELERY")
    assert settings.current(app).root == tmp_path


def test_an_app_without_a_module_starts_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that sets app.conf needs no celeryconfig.py, and one that lies about is not its own."""
    monkeypatch.chdir(tmp_path)
    app = an_app()
    app.conf.bgtasks_default_key = KEY
    assert settings.current(app).root == tmp_path


def test_an_app_is_configured_through_a_namespace_too(elsewhere: Path) -> None:
    """Django's way: every Celery setting of a module has a prefix."""
    app = an_app("with_namespace", namespace="CELERY")
    assert settings.is_configured(app)
    assert (settings.current(app).lease, settings.current(app).root) == (7, elsewhere)
    app.conf.CELERY_BGTASKS_LEESE = 1
    settings._read.pop(app)
    with pytest.raises(ImproperlyConfigured, match="did you mean bgtasks_lease"):
        settings.current(app)


def test_settings_are_read_once(elsewhere: Path) -> None:
    """What is changed afterwards has no effect; another app has settings of its own."""
    app = an_app("my_configuration")
    before = settings.current(app)
    app.conf.bgtasks_lease = 1
    assert settings.current(app) is before
    assert settings.current(an_app("my_configuration")) is not before
    assert not settings.is_configured(an_app())


def test_celeryconfig_is_found_where_no_app_is_named(tmp_path: Path) -> None:
    """Its folder is the root: the reference deployment's way, in whichever folder a command was started."""
    (tmp_path / "celeryconfig.py").write_text(f"bgtasks_default_key = {KEY!r}\n")
    program = "from bgtasks import settings; print(settings.current().root)"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, env=environ, cwd="/", capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == (str(tmp_path), 0), done.stderr


def test_an_app_without_settings_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A web process that has not imported its app would work on another database, and nobody would know why."""
    monkeypatch.setenv("BGTASKS_DEFAULT_KEY", KEY)
    with caplog.at_level(logging.WARNING):
        settings.current(Celery("installed", set_as_current=False, changes={"bgtasks_store_url": "files"}))
        assert not caplog.messages
        settings.current(Celery("bare", set_as_current=False))
    assert caplog.messages == [settings.NO_SETTINGS]
    caplog.clear()
    monkeypatch.setenv("BGTASKS_DATABASE_URL", "sqlite:///elsewhere.db")  # one that the environment configures
    settings.current(Celery("of the environment", set_as_current=False))
    assert not caplog.messages
