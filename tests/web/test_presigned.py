"""``bgtasks_redirect_to_store``: each click gets an address in the bucket that works for a moment. On a real S3 API."""

from __future__ import annotations

import builtins
import hashlib
import http.client
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import botocore.session
import pytest
from botocore.config import Config
from werkzeug.test import Client, TestResponse

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured
from bgtasks.models import FileRequest
from bgtasks.presigning import Presigner
from bgtasks.stores import Store
from tests.conftest import new_sqlite
from tests.support.handmade import CONTENTS, REQUESTER, alter, finished, fresh, in_seconds
from tests.support.s3 import KEY_ID, REGION, SECRET, Bucket

NAME = 'Zoë\'s "flights" & more; 100%.csv'


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind is enough here."""
    return new_sqlite(tmp_path)


@pytest.fixture
def conf(bucket: Bucket, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The files are in a bucket, and downloads are sent there, unless a test says otherwise."""
    return {"bgtasks_store_url": bucket.url, "bgtasks_redirect_to_store": getattr(request, "param", True)}


def ask(client: Client, ready: FileRequest, method: str = "GET", user: str = REQUESTER, **headers: str) -> TestResponse:
    """What somebody gets."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/files/{toolbox.create_token(ready)}"
    return client.open(path, method=method, headers=said, environ_overrides={"REMOTE_USER": user})


def follow(url: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """What the bucket answers."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=10)
    connection.request("GET", f"{where.path}?{where.query}", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def test_a_download_is_sent_to_the_bucket(client: Client, parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket sends the file, under its name and type; nobody keeps the address, and the download is counted."""
    signed: list[str] = []
    sign = Presigner.url
    monkeypatch.setattr(Presigner, "url", lambda *of, **answer: signed.append(sign(*of, **answer)) or signed[-1])
    ready = finished(filename=NAME)
    response = ask(client, ready)
    assert [response.headers["Location"]] == signed  # as it was signed: what is quoted otherwise is another signature
    assert response.status_code == 302
    assert response.get_data() == b""
    assert response.headers["Cache-Control"] == "private, no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "Content-Type" not in response.headers
    status, headers, body = follow(response.headers["Location"])
    assert (status, body) == (200, CONTENTS)
    assert headers["Content-Type"] == "text/csv"
    assert headers["Content-Disposition"] == ask(client, ready, "HEAD").headers["Content-Disposition"]
    assert "filename*=UTF-8''Zo%C3%AB" in headers["Content-Disposition"]
    assert headers["Cache-Control"] == "private, no-store"
    assert fresh(parts, ready).downloads == 1


def test_head_is_answered_here(client: Client, parts: Deployment) -> None:
    """Such an address is signed for GET alone; and looking is no download."""
    ready = finished(CONTENTS)
    response = ask(client, ready, "HEAD")
    assert (response.status_code, response.get_data()) == (200, b"")
    assert response.content_length == len(CONTENTS)
    assert response.headers["ETag"] == f'"{hashlib.sha256(CONTENTS).hexdigest()}"'
    assert fresh(parts, ready).downloads == 0


def test_rights_and_existence_come_first(client: Client, parts: Deployment) -> None:
    """No address is signed for somebody else, or for a file that is not there."""
    ready = finished()
    refused = ask(client, ready, user="eve@example.com")
    assert refused.status_code == 403
    assert "Location" not in refused.headers
    parts.store.delete(str(ready.object_key))
    assert ask(client, ready).status_code == 404
    assert fresh(parts, ready).downloads == 0


@pytest.mark.parametrize(("left", "most"), [(None, 60), (3600, 60), (30, 30), (2, 2)])
def test_an_address_never_outlives_the_file(
    client: Client, parts: Deployment, left: int | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works for a minute at most, and no longer than the file."""
    ready = finished()
    path = f"/files/{toolbox.create_token(ready)}"
    expires_at = None if left is None else in_seconds(left)
    alter(parts, ready, expires_at=expires_at)
    location = client.get(path, environ_overrides={"REMOTE_USER": REQUESTER}).headers["Location"]
    signed = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert most - 2 <= int(signed["X-Amz-Expires"]) <= most
    begins = datetime.strptime(signed["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert expires_at is None or begins.timestamp() + int(signed["X-Amz-Expires"]) <= expires_at.timestamp()


def test_in_its_last_second_a_file_is_streamed(client: Client, parts: Deployment) -> None:
    """No address can be signed for less than a second."""
    ready = finished()
    path = f"/files/{toolbox.create_token(ready)}"
    alter(parts, ready, expires_at=in_seconds(0.9))
    response = client.get(path, environ_overrides={"REMOTE_USER": REQUESTER})
    assert (response.status_code, response.get_data()) == (200, CONTENTS)


def test_a_part_is_the_buckets_to_send(client: Client, parts: Deployment) -> None:
    """The client repeats its range there; a download that goes on counts where it began."""
    ready = finished()
    part = ask(client, ready, Range="bytes=5-", If_None_Match='"another"')
    assert part.status_code == 302
    status, headers, body = follow(part.headers["Location"], Range="bytes=5-")
    assert (status, body) == (206, CONTENTS[5:])
    assert headers["Content-Range"] == f"bytes 5-{len(CONTENTS) - 1}/{len(CONTENTS)}"
    part.get_data()
    assert fresh(parts, ready).downloads == 0


def test_a_view_of_ones_own_streams_from_the_bucket(parts: Deployment) -> None:
    """``toolbox.serve`` does not know what was asked, and HEAD could not be redirected."""
    response = toolbox.serve(finished())
    assert response.status_code == 200
    assert b"".join(response.iter_encoded()) == CONTENTS


@pytest.mark.parametrize("conf", [False], indirect=True)
def test_without_the_setting_the_bucket_is_read(client: Client, parts: Deployment) -> None:
    """The same bytes and headers as from a folder, in parts too."""
    ready = finished()
    response = ask(client, ready, Range="bytes=3-")
    assert (response.status_code, response.get_data()) == (206, CONTENTS[3:])
    assert fresh(parts, ready).downloads == 1


def test_nothing_secret_is_shown(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the secret key nor an address that works is in a log or in the answer's text."""
    caplog.set_level(logging.DEBUG, "bgtasks")
    caplog.set_level(logging.INFO)
    location = ask(client, finished()).headers["Location"]
    assert SECRET not in location
    assert "X-Amz-Signature" not in caplog.text
    assert SECRET not in caplog.text


# -- the signature -----------------------------------------------------------------------------------


def signed_by_botocore(bucket: Bucket, key: str, answer: dict[str, str]) -> SplitResult:
    """What botocore's own client signs, for the same bucket and key."""
    path_style = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    client = botocore.session.get_session().create_client(
        "s3", region_name=REGION, endpoint_url=bucket.endpoint, config=path_style
    )
    parameters = {
        "Bucket": bucket.name,
        "Key": f"exports of ours/{key}",
        "ResponseContentType": answer["content_type"],
        "ResponseContentDisposition": answer["content_disposition"],
    }
    return urlsplit(client.generate_presigned_url("get_object", parameters, ExpiresIn=60))


@pytest.mark.parametrize("token", [None, "a/session+token=="])
def test_the_signature_is_botocores(
    bucket: Bucket, tmp_path: Path, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto checks no signature. botocore's client, asked in the same second, makes the same one."""
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    answer = {
        "content_type": "text/csv",
        "content_disposition": "attachment; filename=\"a b\"; filename*=UTF-8''Zo%C3%AB",
    }
    presigner = Presigner(Store(bucket.url, tmp_path))
    for _ in range(5):
        theirs = signed_by_botocore(bucket, "id/1", answer)
        ours = urlsplit(presigner.url("id/1", 60, **answer))
        if parse_qs(theirs.query)["X-Amz-Date"] == parse_qs(ours.query)["X-Amz-Date"]:
            break
    assert ours[:3] == theirs[:3]
    assert parse_qs(ours.query) == parse_qs(theirs.query)


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        ({}, "https://s3.us-east-1.amazonaws.com/files/a%20b/id/1"),
        ({"AWS_DEFAULT_REGION": "eu-north-1"}, "https://s3.eu-north-1.amazonaws.com/files/a%20b/id/1"),
        ({"AWS_ENDPOINT": "https://s3.example.com"}, "https://s3.example.com/files/a%20b/id/1"),
        (
            {"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true", "AWS_REGION": "eu-west-3"},
            "https://files.s3.eu-west-3.amazonaws.com/a%20b/id/1",
        ),
    ],
)
def test_the_address_is_the_stores(
    tmp_path: Path, environ: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever leads the store to its bucket leads the visitor there: the same variables, read by the same code."""
    for name, value in {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, **environ}.items():
        monkeypatch.setenv(name, value)
    made = urlsplit(Presigner(Store("s3://files/a b", tmp_path)).url("id/1", 5))
    assert made._replace(query="").geturl() == where
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION", "us-east-1")
    [scope] = parse_qs(made.query)["X-Amz-Credential"]
    assert scope.split("/")[0::2] == [KEY_ID, region, "aws4_request"]


def test_without_credentials_one_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names what is missing."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with pytest.raises(ImproperlyConfigured, match="AWS_ACCESS_KEY_ID"):
        Presigner(Store("s3://files", tmp_path))


def test_without_the_extra_one_is_told_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web process needs ``celery-bgtasks[s3]``; workers do without."""
    imported = builtins.__import__

    def refuse(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("botocore"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="botocore")
        return imported(name, *arguments, **more)

    for name in [name for name in sys.modules if name.partition(".")[0] == "botocore"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImproperlyConfigured, match=r"is not installed: pip install 'celery-bgtasks\[s3\]'"):
        Presigner(Store("s3://files", tmp_path))
