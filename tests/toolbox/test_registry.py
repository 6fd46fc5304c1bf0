"""The registered file types: found by name, and handled in this process where there is no broker."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from celery import Celery
from celery.result import AsyncResult

from bgtasks import registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, UnknownFileType
from bgtasks.states import State
from tests.record.moves import claim, end, now, told
from tests.support.file_types import Numbers


def test_a_type_is_found_under_its_names() -> None:
    """register returns the class: it may decorate one; a renamed type keeps its old name."""

    @registry.register
    class Letters(Numbers):
        file_type = "letters"

    assert registry.register(Letters, ["letters", "old_letters"]) is Letters
    assert registry.get("old_letters") is registry.get("letters") is Letters
    assert {"letters", "numbers", "old_letters"} <= set(registry.names())
    assert list(registry.names()) == sorted(registry.names())


@pytest.mark.parametrize("name", ["", "Flights", "1st", "fl-ights", "flights ", "../flights", "flüge", "flights\n"])
def test_a_name_is_plain(name: str) -> None:
    """It is in queue names and in URLs. A type with one bad name is not registered under its others."""
    with pytest.raises(ImproperlyConfigured, match="is no name for a file type"):
        registry.register(Numbers, ["others", name])
    with pytest.raises(UnknownFileType):
        registry.get("others")


def test_a_name_is_taken_once() -> None:
    """Two classes of one name would take turns; the same class again is no error."""
    with pytest.raises(ImproperlyConfigured, match="registered already"):
        registry.register(type("Others", (Numbers,), {}))
    assert registry.register(Numbers) is registry.get("numbers") is Numbers


def test_dispatch_handles_a_request_in_this_process(parts: Deployment) -> None:
    """Once: the second time there is nothing to do."""
    asked = toolbox.add_request({"count": 3}, "numbers", requester="ada")
    assert registry.dispatch(asked.id) is True
    row = now(parts, asked)
    assert (row.state, row.rows_written, row.attempts) == (State.READY, 3, 0)
    assert registry.dispatch(asked.id) is False
    assert AsyncResult(row.id, app=parts.app).get(timeout=1)["state"] == "ready"


def test_dispatch_goes_on_where_another_process_stopped(parts: Deployment) -> None:
    """From the first step whose outcome is not on the row; what is at work is left alone."""
    asked = toolbox.add_request({"count": 3}, "numbers", requester="ada")
    held = claim(parts, asked)
    assert registry.dispatch(asked.id) is False
    end(parts, held)
    assert registry.dispatch(asked.id) is True
    assert told(parts, asked).count("step") == 6


def test_dispatch_of_what_is_not_there(parts: Deployment) -> None:
    """Nothing to do, or nobody who can."""
    assert registry.dispatch("00000000-0000-0000-0000-000000000000") is False
    with pytest.raises(UnknownFileType):
        registry.dispatch(toolbox.add_request("x", "no_such_type").id)


def test_modules_that_cant_be_imported_are_missed_every_time(app: Celery) -> None:
    """A web process whose types are not there says so, and goes on with nothing that only they could allow."""
    app.conf.imports = ["no_such_module_of_exports"]
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            registry.get("unheard_of")


def test_nobody_takes_a_type_for_unknown_while_it_is_imported(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's first requests come at once: those that did not begin the import wait for its end."""
    begun, go_on = threading.Event(), threading.Event()

    class Late(Numbers):
        file_type = "late"

    def slowly() -> None:
        assert registry.get("numbers")  # a module may ask for a type
        begun.set()
        assert go_on.wait(10)
        registry.register(Late)

    monkeypatch.setattr(app.loader, "import_default_modules", slowly)
    with ThreadPoolExecutor(2, initializer=app.set_current) as pool:
        first = pool.submit(registry.get, "late")
        assert begun.wait(10)
        second = pool.submit(registry.get, "late")
        wait([second], 0.2)  # which it does not end in
        go_on.set()
        assert first.result(10) is second.result(10) is Late
