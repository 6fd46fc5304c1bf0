"""Handling requests by hand: from the loop over what is pending to the file that is served."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult
from werkzeug.exceptions import Gone, NotFound

from bgtasks import publishing, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import (
    BadToken,
    ClaimLost,
    RequestFailed,
    RequestNotFound,
    RevokedToken,
    UnknownFileType,
)
from bgtasks.models import COLUMNS, FileRequest
from bgtasks.states import LIVE, State
from tests.record.moves import LONG, advanced, ask, at_once, claim, now, set_row, told

CONTENTS = "Grüße,1\n".encode() * 1000


def ready(**more: Any) -> FileRequest:
    """A request that was handled."""
    asked = toolbox.add_request("year=2013", requester="ada@example.com", **more)
    return toolbox.attach_file(asked, CONTENTS, "report.csv")


def left(tmp_path: Path) -> list[Path]:
    """What is in the store."""
    return list((tmp_path / "files").rglob("*"))


def body(response: Any) -> bytes:
    """What a response streams."""
    return b"".join(response.iter_encoded())


def test_by_hand_from_the_loop_to_the_download(parts: Deployment) -> None:
    """Each pending request gets its own contents, its requester a token, and the token leads to the file."""
    for name in ("ada", "bob"):
        toolbox.add_request({"name": name}, "letter", requester=f"{name}@example.com")
    tokens = {}
    for file_request in FileRequest.to_handle():
        letter = f"Dear {file_request.criteria['name']}"
        toolbox.attach_file(file_request, letter, "letter.txt")
        tokens[letter.encode()] = toolbox.create_token(file_request, data={"page": 2})
    assert len(tokens) == 2
    for letter, token in tokens.items():
        found, data = toolbox.decode(token)
        assert data == {"page": 2}
        response = toolbox.serve(found)
        assert body(response) == letter
        assert response.headers["Content-Disposition"] == "attachment; filename=letter.txt"
        assert response.mimetype == "text/plain"
        assert response.content_length == len(letter)
    assert list(FileRequest.to_handle()) == []


class Kinds:
    """Each kind of contents that may be attached."""

    @staticmethod
    def generator() -> Iterator[bytes]:
        for start in range(0, len(CONTENTS), 777):
            yield CONTENTS[start : start + 777]


@pytest.mark.parametrize(
    "contents",
    [
        lambda: CONTENTS,
        lambda: bytearray(CONTENTS),
        lambda: memoryview(CONTENTS),
        CONTENTS.decode,
        lambda: io.BytesIO(CONTENTS),
        lambda: io.StringIO(CONTENTS.decode()),
        lambda: [CONTENTS[:10], b"", CONTENTS[10:]],
        Kinds.generator,
    ],
    ids=["bytes", "bytearray", "memoryview", "str", "binary file", "text file", "list", "generator"],
)
def test_contents_may_be_of_any_kind(parts: Deployment, contents: Any) -> None:
    """Text is UTF-8; the size and the hash are those of the bytes."""
    row = toolbox.attach_file(toolbox.add_request(), contents(), size=len(CONTENTS))
    assert body(toolbox.serve(row)) == CONTENTS
    assert (row.state, row.size, row.step) == (State.READY, len(CONTENTS), "attach")
    assert {name: getattr(now(parts, row), name) for name in COLUMNS} == {name: getattr(row, name) for name in COLUMNS}
    assert told(parts, row) == ["requested", "step", "ready"]


def test_nothing_is_a_file_too(parts: Deployment) -> None:
    """An empty one."""
    row = toolbox.attach_file(toolbox.add_request(), b"", size=0)
    assert (row.size, body(toolbox.serve(row))) == (0, b"")


@pytest.mark.parametrize(
    ("asked", "given", "name", "kind"),
    [
        ({}, {"filename": "a.csv"}, "a.csv", "text/csv"),
        ({"filename": "asked.csv"}, {}, "asked.csv", "text/csv"),
        ({"filename": "asked.csv"}, {"filename": "given.txt"}, "given.txt", "text/plain"),
        ({"content_type": "text/x-mine"}, {"filename": "a.csv"}, "a.csv", "text/x-mine"),
        ({"content_type": "text/x-mine"}, {"filename": "a.csv", "content_type": "x/y"}, "a.csv", "x/y"),
        ({}, {"filename": "a.unheard-of"}, "a.unheard-of", "application/octet-stream"),
        ({}, {"filename": "../../etc/passwd\r\n"}, "passwd", "application/octet-stream"),
    ],
)
def test_the_name_and_the_type(parts: Deployment, asked: Any, given: Any, name: str, kind: str) -> None:
    """What is given now wins over what was asked for; a name is safe, and suggests a type."""
    row = toolbox.attach_file(toolbox.add_request(**asked), b"x", **given)
    assert row.filename.endswith(name.rpartition("/")[2])
    assert "/" not in row.filename
    assert row.content_type == kind


def test_a_local_file_is_attached_under_its_name(parts: Deployment, tmp_path: Path) -> None:
    """Unless another is given; an open file brings its name along too."""
    path = tmp_path / "report.csv"
    path.write_bytes(CONTENTS)
    row = toolbox.attach_local_file(toolbox.add_request(), path)
    assert (row.filename, row.content_type, row.size) == ("report.csv", "text/csv", len(CONTENTS))
    assert toolbox.attach_local_file(toolbox.add_request(), str(path), "other.csv").filename == "other.csv"
    with path.open("rb") as contents:
        assert toolbox.attach_file(toolbox.add_request(), contents).filename == "report.csv"


def test_a_local_file_that_is_not_there_leaves_the_request_pending(parts: Deployment, tmp_path: Path) -> None:
    """It is looked for before the request is claimed."""
    asked = toolbox.add_request()
    with pytest.raises(FileNotFoundError):
        toolbox.attach_local_file(asked, tmp_path / "missing.csv")
    assert now(parts, asked).fence == 0


class Wrong:
    """Contents that can't be attached."""

    @staticmethod
    def raises() -> Iterator[bytes]:
        for _ in range(20):
            yield bytes(1024 * 1024)
        raise ZeroDivisionError

    @staticmethod
    def interrupted() -> Iterator[bytes]:
        yield b"a beginning"
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("contents", "size", "error"),
    [
        (Wrong.raises, None, ZeroDivisionError),
        (Wrong.interrupted, None, KeyboardInterrupt),
        (lambda: CONTENTS, len(CONTENTS) - 1, ValueError),
        (lambda: CONTENTS, len(CONTENTS) + 1, ValueError),
        (lambda: ["text"], None, TypeError),
        (lambda: None, None, TypeError),
    ],
    ids=["raises", "interrupted", "too long", "too short", "pieces of text", "nothing"],
)
def test_what_cannot_be_attached_leaves_the_request_pending(
    parts: Deployment, tmp_path: Path, contents: Any, size: int | None, error: type[BaseException]
) -> None:
    """Nothing is left in the store, and the same request may be handled again, with the same object in hand."""
    asked = toolbox.add_request()
    with pytest.raises(error):
        toolbox.attach_file(asked, contents(), size=size)
    row = now(parts, asked)
    assert (row.state, row.step, row.leased_by, row.dispatch_at, row.attempts) == (State.PENDING, "", None, None, 0)
    assert left(tmp_path) == []
    assert [found.id for found in FileRequest.to_handle()] == [asked.id]
    assert toolbox.attach_file(asked, CONTENTS).state == State.READY


def test_of_two_handlers_one_wins(parts: Deployment, tmp_path: Path) -> None:
    """The other one is told that the claim is lost, and leaves nothing behind."""
    asked = toolbox.add_request()
    seen = [now(parts, asked) for _ in range(4)]
    answers = at_once([partial(toolbox.attach_file, row, CONTENTS) for row in seen])
    assert sorted(type(answer).__name__ for answer in answers) == ["ClaimLost"] * 3 + ["FileRequest"]
    assert [path for path in left(tmp_path) if path.is_file()] == [tmp_path / "files" / now(parts, asked).object_key]


def test_a_request_that_is_cancelled_meanwhile_gets_no_file(parts: Deployment, tmp_path: Path) -> None:
    """Its handler learns of it at the end, at the latest."""
    asked = toolbox.add_request()

    def contents() -> Iterator[bytes]:
        yield b"x"
        assert toolbox.cancel(now(parts, asked))

    with pytest.raises(ClaimLost):
        toolbox.attach_file(asked, contents())
    assert now(parts, asked).state == State.CANCELLED
    assert left(tmp_path) == []


def test_what_has_a_chain_is_not_handled_by_hand(parts: Deployment) -> None:
    """Two would write one file."""
    for asked in (toolbox.add_request({}, "numbers", schedule=True), advanced(parts, "attach"), ready()):
        with pytest.raises(ClaimLost):
            toolbox.attach_file(asked, b"x")


def test_whoever_waits_for_the_result_gets_it(parts: Deployment) -> None:
    """Under the request's id, whoever made the file."""
    row = ready()
    assert AsyncResult(row.id, app=parts.app).get(timeout=1) == {
        "id": row.id, "state": "ready", "filename": "report.csv",
        "size": len(CONTENTS), "rows": 0, "sha256": row.sha256,
    }  # fmt: skip


# -- tokens ---------------------------------------------------------------------------------------


def test_a_token_needs_a_requester(parts: Deployment) -> None:
    """A general one does not; and it is no requester's token."""
    row = toolbox.attach_file(toolbox.add_request(), CONTENTS)
    with pytest.raises(RuntimeError):
        toolbox.create_token(row)
    token = toolbox.create_general_token(row, {"a": 1})
    with pytest.raises(BadToken):
        toolbox.decode(token)
    found, data = toolbox.decode(token, require_requester=False)
    assert (found.id, data) == (row.id, {"a": 1})


def test_a_token_of_a_request_that_is_gone(parts: Deployment) -> None:
    """It was good, and there is no such file any more; none can be made either."""
    row = ready()
    token = toolbox.create_token(row)
    assert toolbox.delete(row)
    with pytest.raises(RequestNotFound):
        toolbox.decode(token)
    with pytest.raises(RequestNotFound):
        toolbox.create_token(row)


def test_serve_raises_what_the_caller_wants(parts: Deployment) -> None:
    """Where there is no file yet, or not any more."""
    asked = toolbox.add_request()
    with pytest.raises(NotFound):
        toolbox.serve(asked)
    row = ready()
    parts.store.delete(str(row.object_key))
    with pytest.raises(Gone):
        toolbox.serve(row, raise_on_missing=Gone)
    with pytest.raises(KeyError, match="mine"):
        toolbox.serve(row, raise_on_missing=KeyError("mine"))


# -- cancel, retry, revoke, delete ------------------------------------------------------------------


@pytest.mark.parametrize("step", ["", "build_items", "write_bytes"])
def test_cancel_ends_a_live_request_and_tells_who_waits(parts: Deployment, step: str) -> None:
    """The file that is written already goes with it."""
    row = advanced(parts, step)
    if row.object_key:
        with parts.store.open_writer(row.object_key) as writer:
            writer.write(CONTENTS)
            writer.commit()
    assert toolbox.cancel(row, "an operator") is True
    assert row.state == State.CANCELLED
    assert parts.requests.history(row.id)[-1].actor == "an operator"
    with pytest.raises(RequestFailed, match="cancelled") as caught:
        AsyncResult(row.id, app=parts.app).get(timeout=1)
    assert (caught.value.error_code, caught.value.request_id) == ("cancelled", row.id)
    assert row.object_key is None or not (parts.store.local_path(row.object_key) or Path()).exists()
    assert toolbox.cancel(row) is False


def test_a_ready_file_is_not_cancelled(parts: Deployment) -> None:
    """It is revoked or deleted."""
    row = ready()
    assert toolbox.cancel(row) is False
    assert body(toolbox.serve(row)) == CONTENTS


def failed(parts: Deployment, asked: FileRequest | None = None) -> FileRequest:
    """A request that failed, whose result is stored."""
    row = parts.requests.fail(claim(parts, asked or ask()), "too_many_rows", "Too many.", waits=False)
    toolbox.results.announce(parts.app, row)
    return row


def test_retry_publishes_a_failed_request_again(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for its result waits for the new end, and gets that."""
    published: list[FileRequest] = []
    monkeypatch.setattr(publishing, "publish", published.append)
    row, result = failed(parts), None
    with pytest.raises(RequestFailed):
        AsyncResult(row.id, app=parts.app).get(timeout=1)
    assert toolbox.retry(row, "ada@example.com") is True
    assert (row.state, row.step) == (State.PENDING, "")
    assert [(one.id, one.fence) for one in published] == [(row.id, row.fence)]
    assert AsyncResult(row.id, app=parts.app).state == "PENDING"
    done = advanced(parts, "attach", row)
    toolbox.results.announce(parts.app, done)
    result = AsyncResult(row.id, app=parts.app).get(timeout=1)
    assert result["state"] == "ready"
    assert toolbox.retry(row) is False
    assert len(published) == 1


@pytest.mark.parametrize("state", [state for state in State if state != State.FAILED])
def test_only_a_failure_is_retried(parts: Deployment, state: State) -> None:
    """Everything else is as it should be."""
    assert toolbox.retry(set_row(parts, ask(), state=state)) is False


def test_a_type_that_nobody_knows_is_not_retried(parts: Deployment) -> None:
    """It would wait for ever; it stays failed, and says why."""
    row = set_row(parts, failed(parts), file_type="no_such_type")
    with pytest.raises(UnknownFileType):
        toolbox.retry(row)
    assert now(parts, row).state == State.FAILED


def test_revoke_makes_every_link_invalid(parts: Deployment) -> None:
    """Those that were made before; the file stays, and a new link works."""
    row = ready()
    assert toolbox.revoke(row) is False
    old = [toolbox.create_token(row), toolbox.create_general_token(row)]
    assert toolbox.revoke(row, "an operator") is True
    assert toolbox.revoke(row) is False
    for token in old:
        with pytest.raises(RevokedToken):
            toolbox.decode(token, require_requester=False)
    new = toolbox.create_token(row)
    assert toolbox.decode(new)[0].id == row.id


def test_delete_removes_the_row_and_the_file(parts: Deployment, tmp_path: Path) -> None:
    """Once."""
    row = ready()
    assert toolbox.delete(row) is True
    assert left(tmp_path) == []
    assert parts.requests.get(row.id) is None
    assert toolbox.delete(row) is False


@pytest.mark.parametrize("state", LIVE)
def test_a_live_request_is_not_deleted(parts: Deployment, state: State) -> None:
    """It is cancelled first."""
    row = set_row(parts, ask(), state=state)
    assert toolbox.delete(row) is False
    assert toolbox.cancel(row)
    assert toolbox.delete(row) is True


def test_a_result_backend_that_is_away_loses_no_file(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither attaching nor a cancel nor a retry fails for it."""
    for name in ("store_result", "forget"):
        monkeypatch.setattr(parts.app.backend, name, lambda *_, **__: 1 / 0)
    assert ready().state == State.READY
    assert toolbox.cancel(ask())
    assert caplog.text.count("could not be stored") == 2
    row = parts.requests.fail(claim(parts, ask()), "too_many_rows", "Too many.", waits=False)
    assert toolbox.retry(row)


def test_the_default_signer_is_the_deployments(parts: Deployment) -> None:
    """With the salt of downloads, and the age that the settings say."""
    signer = toolbox.get_default_signer()
    assert signer is parts.default_signer
    assert signer.max_age == parts.settings.default_max_age
    row = ready()
    assert toolbox.decode(toolbox.create_token(row, signer=signer), signer=signer)[0].id == row.id
    other = parts.signer(LONG)
    assert other.load(signer.dump("x")) == "x"
