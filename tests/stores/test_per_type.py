"""A store of a file type's own: each row says where its object is, and everything that touches it goes there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from bgtasks import execution, registry, toolbox
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, RequestFailed, TransientError
from bgtasks.models import FileRequest
from bgtasks.object_keys import ObjectKey
from bgtasks.running import RunningStep
from bgtasks.states import State
from bgtasks.sweeps.cleaning import FEW
from bgtasks.wsgi import application
from tests.clean.scenes import LONG_AGO, added, now, put, run, set_row, stage
from tests.support.file_types import Numbers
from tests.support.handmade import CONTENTS, REQUESTER, alter, finished, in_seconds
from tests.support.s3 import Bucket

ROWS = b"number,name\r\n0,name 0\r\n1,name 1\r\n2,name 2\r\n"


@pytest.fixture
def database_url(sqlite: str) -> str:
    """One kind is enough here."""
    return sqlite


@pytest.fixture
def conf(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings that a test is parametrised with."""
    return dict(getattr(request, "param", {}))


@pytest.fixture(autouse=True)
def _root(parts: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths of stores start here."""
    object.__setattr__(parts.settings, "root", tmp_path)


#: Nobody is told.
UNTOLD = ("fetch_criteria", "build_items", "write_bytes", "attach", "tokenize")


class Plain(Numbers):
    """Files that are kept with all others."""

    file_type = "plain"
    steps = UNTOLD


class Salaries(Numbers):
    """Files that are kept elsewhere."""

    file_type = "salaries"
    steps = UNTOLD
    store_url: str | None = "vault"
    broken = False

    def write_bytes(self, dataset: Any, buffer: Any) -> None:
        super().write_bytes(dataset, buffer)
        if self.broken:
            raise ZeroDivisionError


@pytest.fixture
def salaries(monkeypatch: pytest.MonkeyPatch) -> type[Salaries]:
    """The type, whose attributes a test may change."""
    for name in ("store_url", "broken"):
        monkeypatch.setattr(Salaries, name, getattr(Salaries, name))
    registry.register(Plain)
    return registry.register(Salaries)


def made(parts: Deployment, file_type: str = "salaries") -> FileRequest:
    """A file that the chain has made, without a worker."""
    row = toolbox.add_request({"count": 3}, file_type, REQUESTER)
    assert execution.run_outstanding(row)
    ready = now(parts, row)
    assert ready.state == State.READY
    return ready


def objects(folder: Path) -> list[str]:
    """The keys of all that a folder holds."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def get(ready: FileRequest, **headers: str) -> TestResponse:
    """What its requester gets."""
    path = f"/files/{toolbox.create_token(ready)}"
    return Client(application).get(path, headers=headers, environ_overrides={"REMOTE_USER": REQUESTER})


def test_a_type_has_a_store_of_its_own(parts: Deployment, salaries: type[Salaries], tmp_path: Path) -> None:
    """The row says where; other types stay where they were, and their rows say nothing."""
    theirs, others = made(parts), made(parts, "plain")
    assert (theirs.store_url, others.store_url) == ("vault", None)
    assert objects(tmp_path / "vault") == [theirs.object_key]
    assert objects(tmp_path / "files") == [others.object_key]
    assert [get(row).get_data() for row in (theirs, others)] == [ROWS, ROWS]
    part = get(theirs, Range="bytes=-8")
    assert (part.status_code, part.get_data()) == (206, ROWS[-8:])


def test_a_file_that_is_attached_by_hand_goes_there_too(parts: Deployment, salaries: Any, tmp_path: Path) -> None:
    """And is found there; one of an unknown type goes to the deployment's own store."""
    theirs, unknown = finished(file_type="salaries"), finished(file_type="")
    assert (theirs.store_url, unknown.store_url) == ("vault", None)
    assert objects(tmp_path / "vault") == [theirs.object_key]
    assert b"".join(toolbox.serve(theirs).iter_encoded()) == CONTENTS
    assert toolbox.delete(theirs)
    assert objects(tmp_path / "vault") == []
    with pytest.raises(ValueError, match="announced"):
        toolbox.attach_file(added("salaries"), b"123", size=4)
    assert objects(tmp_path / "vault") == []


def test_a_step_that_fails_leaves_nothing_there(parts: Deployment, salaries: type[Salaries], tmp_path: Path) -> None:
    """What it wrote is removed from where it wrote."""
    salaries.broken = True
    row = added("salaries")
    with pytest.raises(RequestFailed):
        execution.run_outstanding(row)
    assert objects(tmp_path / "vault") == []
    assert now(parts, row).store_url is None


@pytest.mark.parametrize("becomes", ["elsewhere", None, "gone"])
def test_a_file_stays_where_it_is(
    parts: Deployment, salaries: type[Salaries], tmp_path: Path, becomes: str | None
) -> None:
    """The type's store changes, or the type is gone: old files are served, expire and are removed all the same."""
    served, expired, cancelled, deleted = (made(parts) for _ in range(4))
    if becomes == "gone":
        del registry._classes["salaries"]
    else:
        salaries.store_url = becomes
        assert made(parts).store_url == becomes
    assert get(served).get_data() == ROWS
    set_row(parts, expired, expires_at=in_seconds(-7200))
    set_row(parts, cancelled, state=State.CANCELLED, finished_at=in_seconds(0))
    assert toolbox.delete(now(parts, deleted))
    done = run()
    assert (done.expired, done.leftovers, done.faults) == (1, 1, 0)
    assert objects(tmp_path / "vault") == [served.object_key]
    for row in (expired, cancelled):
        assert (now(parts, row).object_key, now(parts, row).store_url) == (None, None)


def test_a_retry_after_the_store_has_changed_leaves_nothing_behind(
    parts: Deployment, salaries: type[Salaries], tmp_path: Path
) -> None:
    """The old object goes before the row names another one: no sweep would look for it there."""
    row = failed_with_an_object(parts)
    salaries.store_url = "elsewhere"
    assert toolbox.retry(row)
    assert execution.run_outstanding(now(parts, row))
    assert now(parts, row).store_url == "elsewhere"
    assert (objects(tmp_path / "vault"), objects(tmp_path / "elsewhere")) == ([], [now(parts, row).object_key])


def test_a_retry_while_the_former_store_is_away_waits_for_it(
    parts: Deployment, salaries: type[Salaries], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row names the object until it is gone."""
    monkeypatch.setattr("bgtasks.patience.IN_SLOT", 0)
    row = failed_with_an_object(parts)
    salaries.store_url = "elsewhere"
    assert toolbox.retry(row)
    aside = (tmp_path / "vault").rename(tmp_path / "aside")
    (tmp_path / "vault").write_text("something else is where the files should be")
    assert not execution.run_outstanding(now(parts, row))  # it is handed back
    assert (now(parts, row).state, now(parts, row).store_url) == (State.RUNNING, "vault")
    (tmp_path / "vault").unlink()
    aside.rename(tmp_path / "vault")
    assert execution.run_outstanding(now(parts, row))
    assert (objects(tmp_path / "vault"), len(objects(tmp_path / "elsewhere"))) == ([], 1)


def failed_with_an_object(parts: Deployment) -> FileRequest:
    """A request that has failed after its object was written."""
    row = toolbox.add_request({"count": 3}, "salaries", REQUESTER, schedule=True)
    claim = Claim.of(row)
    for step in ("fetch_criteria", "build_items", "write_bytes"):
        claim = execution.run(step, claim, "a worker")
    held = parts.requests.claim(claim, "attach", "write_bytes", "a worker")
    failed = parts.requests.fail(held, "internal_error", "No.", waits=False)
    assert (failed.store_url, failed.object_key is not None) == ("vault", True)
    return failed


def test_a_step_of_ones_own_may_write_the_object_anew(
    parts: Deployment, salaries: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says the key alone: where it has written is known."""

    @execution.step("stamp")
    def stamp(running: RunningStep) -> dict[str, Any]:
        with running.open_object() as buffer:
            buffer.write(b"stamped")
            buffer.commit()
        return {"object_key": running.held.object_key, "size": buffer.size, "sha256": buffer.sha256}

    monkeypatch.setattr(salaries, "steps", ("write_bytes", "stamp", "attach"))
    ready = made(parts)
    del execution._bodies["stamp"]
    assert ready.store_url == "vault"
    assert objects(tmp_path / "vault") == [ready.object_key]
    assert get(ready).get_data() == b"stamped"


# -- the sweep ----------------------------------------------------------------------------------------


def test_orphans_are_found_in_every_store(parts: Deployment, salaries: type[Salaries], tmp_path: Path) -> None:
    """What a killed worker has left of an upload, too; what a row names stays, whichever store it is asked in."""
    kept = made(parts)
    orphan = "00000000-0000-4000-8000-000000000001/3"
    for url in (None, "vault"):
        with parts.store_at(url).open_writer(orphan) as writer:
            writer.write(b"lost")
            writer.commit()
    (tmp_path / "vault" / orphan.replace("/3", "/4#1")).write_bytes(b"12")
    put(parts, str(kept.object_key))  # a copy, of a move that is under way
    assert run().orphans == 3
    assert objects(tmp_path / "vault") == objects(tmp_path / "files") == [kept.object_key]
    assert all(map(ObjectKey.parse, objects(tmp_path / "vault")))


ORPHANS = [f"00000000-0000-4000-8000-{number:012d}/3" for number in range(1, FEW + 6)]


def left_in(parts: Deployment, url: str, keys: list[str]) -> None:
    """Objects that no row names."""
    for key in keys:
        with parts.store_at(url).open_writer(key) as writer:
            writer.write(b"lost")
            writer.commit()


@pytest.mark.parametrize("becomes", ["elsewhere", None, "gone"])
def test_orphans_are_found_in_a_store_that_only_rows_name(
    parts: Deployment, salaries: type[Salaries], tmp_path: Path, becomes: str | None
) -> None:
    """The type has left it, or is gone, and some of its files are there yet."""
    kept = made(parts)
    left_in(parts, "vault", ORPHANS[:2])
    if becomes == "gone":
        del registry._classes["salaries"]
    else:
        salaries.store_url = becomes
    assert parts.requests.store_urls() == ["vault"]
    assert run().orphans == 2
    assert objects(tmp_path / "vault") == [kept.object_key]


def test_stores_that_rows_name_are_found_one_by_one(parts: Deployment) -> None:
    """Each once, and not the deployment's own."""
    for url in ("s3://b", None, "s3://a", "s3://b", "vault"):
        set_row(parts, added(), store_url=url)
    assert parts.requests.store_urls() == ["s3://a", "s3://b", "vault"]


def test_orphans_are_found_in_a_store_that_somebody_names(
    parts: Deployment, salaries: type[Salaries], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a type nor a row does any more. Of what the table knows nothing at all, nothing is removed unasked."""
    known = made(parts, "plain")
    own = [*ORPHANS[:3], f"{known.id}/{known.fence - 1}"]
    left_in(parts, "former", own)
    assert run().orphans == 0
    done = run(stores=["former"])
    assert (done.orphans, done.spared, len(objects(tmp_path / "former"))) == (0, 4, 4)
    assert "clean --all-orphans --store former" in caplog.text
    (tmp_path / "former" / ORPHANS[0]).unlink()
    (tmp_path / "former" / ORPHANS[1]).unlink()
    assert run(stores=["former"]).orphans == 2  # the table knows half of them
    assert objects(tmp_path / "former") == []


def test_all_orphans_are_those_of_the_stores_that_are_named(parts: Deployment, salaries: Any, tmp_path: Path) -> None:
    """Whoever is sure of one store has said nothing of the others; the deployment's own may be named too."""
    left_in(parts, "former", ORPHANS[:1])
    left_in(parts, parts.settings.store_url, ORPHANS)
    done = run(stores=["former"], all_orphans=True)
    assert (done.orphans, done.spared) == (1, len(ORPHANS))
    assert (len(objects(tmp_path / "former")), len(objects(tmp_path / "files"))) == (0, len(ORPHANS))
    assert run(stores=[parts.settings.store_url], all_orphans=True).orphans == len(ORPHANS)


def test_two_names_of_one_store_do_no_harm(parts: Deployment, salaries: type[Salaries], tmp_path: Path) -> None:
    """A type may name the deployment's own folder."""
    salaries.store_url = str(tmp_path / "files")
    kept = made(parts), made(parts, "plain")
    assert (run().orphans, run().faults) == (0, 0)
    assert [get(row).status_code for row in kept] == [200, 200]


def test_bounded_runs_come_to_every_store(parts: Deployment, salaries: type[Salaries]) -> None:
    """However much there is in the first one."""
    for _ in range(5):
        finished()
    with parts.store_at("vault").open_writer("00000000-0000-4000-8000-000000000001/3") as writer:
        writer.commit()
    assert any(run(items=2).orphans for _ in range(60))


def test_a_types_store_that_is_away_keeps_no_other_from_being_cleaned(
    parts: Deployment, salaries: type[Salaries], tmp_path: Path
) -> None:
    """Its files wait; the run says that it is not done."""
    rows = [set_row(parts, made(parts, name), expires_at=in_seconds(-7200)) for name in ("salaries", "plain")]
    waits = set_row(parts, made(parts), expires_at=in_seconds(-7200))
    stage(parts, "00000000-0000-4000-8000-000000000001/3")
    aside = (tmp_path / "vault").rename(tmp_path / "aside")
    (tmp_path / "vault").write_text("something else is where the files should be")
    done = run()
    assert isinstance(done.away, TransientError)
    assert objects(tmp_path / "files") == []
    assert now(parts, rows[1]).object_key is None
    (tmp_path / "vault").unlink()
    aside.rename(tmp_path / "vault")
    assert run().away is None
    assert objects(tmp_path / "vault") == []
    for row in (*rows, waits):
        assert (now(parts, row).state, now(parts, row).object_key) == (State.EXPIRED, None)
    for row in (*rows, waits):
        set_row(parts, row, expires_at=in_seconds(LONG_AGO))
    assert run().rows == 3


def test_a_store_that_cannot_be_opened_keeps_no_other_from_being_cleaned(
    parts: Deployment, salaries: type[Salaries], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as one whose account is not set any more: a line in the log, and the next one's turn."""
    lost = set_row(parts, made(parts), expires_at=in_seconds(-7200), store_url="az://nobodys")
    other = set_row(parts, made(parts, "plain"), expires_at=in_seconds(-7200))
    salaries.store_url = "az://nobodys"
    done = run()
    assert (done.expired, done.faults, done.away) == (2, 2, None)
    assert caplog.text.count("Account must be specified") == 2
    assert (now(parts, lost).object_key is None, now(parts, other).object_key is None) == (False, True)


def test_a_method_that_fails_without_a_request_is_passed_over(
    parts: Deployment, salaries: type[Salaries], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The sweep asks each type where its files go, and the others' stores are swept all the same."""
    monkeypatch.setattr(Salaries, "get_store_url", lambda self: self.file_request.requester)
    put(parts, "00000000-0000-4000-8000-000000000001/3")
    assert run().orphans == 1
    assert "the store of salaries is not known" in caplog.text


# -- serving ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conf", [{"bgtasks_sendfile": "/protected"}], indirect=True)
@pytest.mark.parametrize(("store_url", "path"), [(None, ""), ("vault", None), ("files/vault", "vault/")])
def test_nginx_is_sent_to_what_it_can_see(
    parts: Deployment, salaries: type[Salaries], store_url: str | None, path: str | None
) -> None:
    """Its location is the deployment's own folder: what is below it, and nothing beside it, which we send."""
    salaries.store_url = store_url
    ready = made(parts)
    response = get(ready)
    if path is None:
        assert ("X-Accel-Redirect" in response.headers, response.get_data()) == (False, ROWS)
    else:
        assert response.headers["X-Accel-Redirect"] == f"/protected/{path}{ready.object_key}"


@pytest.mark.parametrize("is_redirected", [False, True])
def test_a_bucket_beside_folders(
    parts: Deployment, salaries: type[Salaries], bucket: Bucket, is_redirected: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Files of the type are in the bucket, in parts of it where asked for, and sent from there if that is wished."""
    caplog.set_level(logging.INFO)
    object.__setattr__(parts.settings, "redirect_to_store", is_redirected)
    salaries.store_url = bucket.url
    theirs, others = made(parts), made(parts, "plain")
    assert theirs.store_url == bucket.url
    assert bucket.head(str(theirs.object_key))["ContentLength"] == len(ROWS)
    assert get(others).get_data() == ROWS
    sent = get(theirs)
    if is_redirected:
        assert bucket.fetch(sent.headers["Location"]) == (200, ROWS)
    else:
        part = get(theirs, Range="bytes=8-11")
        assert (sent.get_data(), part.status_code, part.get_data()) == (ROWS, 206, ROWS[8:12])
    alter(parts, theirs, expires_at=in_seconds(-7200))
    assert run().expired == 1
    assert list(parts.store_at(bucket.url).keys()) == []


def test_an_object_that_is_not_in_its_store_is_no_file(parts: Deployment, salaries: Any, tmp_path: Path) -> None:
    """One of the same key in another store is another."""
    ready = made(parts)
    key = str(ready.object_key)
    put(parts, key, ROWS)
    (tmp_path / "vault" / key).unlink()
    assert get(ready).status_code == 404


# -- what can't be ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["ftp://host/files", "s3://", "s3://key:password@bucket", "s3://bucket?secret=password", "file://x", 5]
)
def test_a_bad_url_is_said_when_the_type_is_registered(url: Any) -> None:
    """By the name of the class; a password is not shown."""
    bad = type("Bad", (Numbers,), {"file_type": "bad", "store_url": url})
    with pytest.raises(
        ImproperlyConfigured, match=r"Bad\.store_url (must be the path|takes no user, password)"
    ) as caught:
        registry.register(bad)
    assert "password@" not in str(caught.value)


def test_a_bad_url_that_a_method_returns_fails_the_request(
    parts: Deployment, salaries: type[Salaries], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No object is put anywhere else."""
    monkeypatch.setattr(Salaries, "get_store_url", lambda _: "ftp://host/files")
    row = added("salaries")
    with pytest.raises(RequestFailed):
        execution.run_outstanding(row)
    assert now(parts, row).state == State.FAILED
    assert list(parts.store.keys()) == []


def test_a_store_is_opened_once(parts: Deployment, salaries: Any) -> None:
    """In each process, when it is first needed."""
    assert parts.store is parts.store
    assert parts.store_at("vault") is parts.store_at("vault") is not parts.store
