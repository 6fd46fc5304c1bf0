"""A deployment whose files are in Azure's blob service, as its emulator has it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from werkzeug.test import Client

from bgtasks import registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.pacing import Pace
from bgtasks.sweeps import cleaning
from bgtasks.wsgi import application
from tests.support.azurite import Azurite
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, alter, fresh, in_seconds


@pytest.fixture
def database_url(sqlite: str) -> str:
    """One kind is enough here."""
    return sqlite


@pytest.fixture
def conf(azurite: Azurite) -> dict[str, Any]:
    """The files are in a container of its own."""
    url = azurite.container(f"test-{uuid.uuid4().hex}")
    return {"bgtasks_store_url": url, "bgtasks_store_options": azurite.options}


def test_from_the_request_to_the_last_of_its_file(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made, served whole and in part, and gone when its time is over; and an orphan with it."""
    monkeypatch.setattr(Numbers, "notifiers", ())
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER)
    assert registry.dispatch(row.id)
    ready = fresh(parts, row)
    path, person = f"/files/{toolbox.create_token(ready)}", {"REMOTE_USER": REQUESTER}
    whole = Client(application).get(path, environ_overrides=person)
    middle = Client(application).get(path, headers={"Range": "bytes=2-4"}, environ_overrides=person)
    assert (whole.status_code, len(whole.data), middle.status_code) == (200, ready.size, 206)
    assert middle.data == whole.data[2:5]
    with parts.store.open_writer(f"{ready.id}/1") as orphan:
        orphan.write(b"of a worker that was killed")
        orphan.commit()
    assert len(list(parts.store.keys())) == 2
    alter(parts, ready, expires_at=in_seconds(-7200))
    done = cleaning.clean(Pace())
    assert (done.expired, done.orphans, done.faults) == (1, 1, 0)
    assert list(parts.store.keys()) == []
