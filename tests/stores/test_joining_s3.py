"""Joining in S3: of the right pieces, in the right place, or else all is sent; and memory stays flat."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, SSLError
from hypothesis import given, settings
from hypothesis import strategies as st

from bgtasks.errors import ClaimLost, TransientError
from bgtasks.stores import PartObject, Store, bucket_joining, pieces, s3
from tests.stores.scenes import FEW, check, content, is_as_before, written
from tests.stores.test_options import CUSTOMERS, ENCRYPTED, KMS_KEY
from tests.support.s3 import KEY_ID, SECRET, Bucket

OURS = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET, "aws_region": "eu-central-2"}
VIRTUAL = {"aws_virtual_hosted_style_request": True}


@pytest.fixture
def key() -> str:
    return f"{uuid.uuid4()}/3"


@pytest.fixture
def there(bucket: Bucket, tmp_path: Path) -> Store:
    return Store(bucket.url, tmp_path)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 70) | st.sampled_from([5, 10, 11, 20, 21]), max_size=12), st.integers(2, 60))
def test_pieces_are_as_s3_wants_them(sizes: list[int], most: int) -> None:
    """They are the whole; each but the last is large enough, none too large, and what is sent is the least."""
    parts = [PartObject(str(number), size, "") for number, size in enumerate(sizes)]
    whole = b"".join(content(size, number) for number, size in enumerate(sizes))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MOST": most, "LEAST": 10, "USUAL": 20, "LARGEST": 50}.items():
            patch.setattr(pieces, name, value)
        plan = pieces.planned(parts)
    if not plan:
        assert len(whole) < 10 or max(sizes, default=0) < 20 or len(whole) > 10 * (most - 1)
        return
    assert len(plan) <= most
    assert all(10 <= piece.size <= 50 for piece in plan[:-1])
    assert 0 < plan[-1].size <= 50
    assert all(piece.size <= 10 for piece in plan if piece.source is None)
    assert b"".join(taken(piece, whole) for piece in plan) == whole


def taken(piece: pieces.Piece, whole: bytes) -> bytes:
    """The bytes that S3 makes of a piece."""
    if piece.source is None:
        return whole[piece.start : piece.stop]
    source = content(piece.source.size, int(piece.source.key))
    if piece.range is None:
        return source
    first, last = map(int, piece.range.removeprefix("bytes=").split("-"))
    assert piece.source.size > 10  # a range is copied of no smaller object
    return source[first : last + 1]


def answer(status: int) -> ClientError:
    said = {"Error": {"Code": "Some"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "UploadPartCopy")  # type: ignore[no-untyped-call]


def raising(fault: Exception) -> Callable[..., Any]:
    def request(*_: Any) -> None:
        raise fault

    return request


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("_copy", raising(answer(501))),
        ("_create", raising(SSLError(endpoint_url="s3", error="unknown"))),  # type: ignore[no-untyped-call]
        ("_copy", raising(NoCredentialsError())),  # type: ignore[no-untyped-call]
        ("_complete", raising(answer(403))),
        ("_complete", lambda *_: 2 * FEW),  # it has copied more than it was asked for
    ],
)
def test_a_service_that_does_not_join_is_sent_all(
    there: Store, bucket: Bucket, key: str, name: str, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some that are like S3 don't; and nothing is left of what was tried."""
    parts = written(there, key, [FEW, 3])
    monkeypatch.setattr(bucket_joining._Upload, name, request_)
    check(there, key, parts, there.join(parts, key))
    assert "-" not in bucket.head(key)["ETag"]
    assert bucket.unfinished() == []


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("_create", answer(503)),
        ("_copy", answer(429)),
        ("_put", EndpointConnectionError(endpoint_url="s3")),  # type: ignore[no-untyped-call]
        ("_complete", answer(500)),
    ],
)
def test_a_service_that_fails_is_tried_later(
    there: Store, bucket: Bucket, key: str, name: str, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left meanwhile, and it is not all sent, which would fail too."""
    monkeypatch.setattr("bgtasks.stores.streamed", None)
    parts = written(there, key, [FEW, 3])
    monkeypatch.setattr(bucket_joining._Upload, name, raising(fault))
    with pytest.raises(TransientError):
        there.join(parts, key)
    is_as_before(there, parts, bucket)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_cancel_while_s3_makes_the_object(
    there: Store, bucket: Bucket, key: str, is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be whole before anybody could say so: then it goes."""
    parts, completing, cancelled = written(there, key, [FEW, 3]), threading.Event(), threading.Event()
    complete = bucket_joining._Upload._complete

    def slowly(upload: Any, tags: Any) -> int:
        size = complete(upload, tags) if is_whole else 0
        completing.set()
        assert cancelled.wait(30)
        return size

    def watch() -> None:
        if completing.is_set():
            cancelled.set()
            raise ClaimLost("id")

    monkeypatch.setattr(bucket_joining._Upload, "_complete", slowly)
    with pytest.raises(ClaimLost):
        there.join(parts, key, watch)
    is_as_before(there, parts, bucket)


# -- the place ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _nobody_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def opened(options: dict[str, Any], url: str = "s3://exports/of ours/é") -> tuple[Store, s3.Place | None]:
    store = Store(url, Path(), options)
    return store, s3.place(url, store._store)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://exports", {}),
        ("s3://exports/exports/x", VIRTUAL),
        ("s3://exports/of ours/é", {"aws_endpoint": "http://127.0.0.1:9000", "allow_http": True}),
        ("s3://exports/of ours/é", {"aws_endpoint": "https://s3.example.com/gate"}),
        ("s3://exports/x", {"aws_endpoint": "https://exports.s3.example.com:9000", **VIRTUAL}),
        ("s3://ex.ports/x", {"aws_session_token": "a session"}),
    ],
)
def test_an_object_has_one_address(url: str, options: dict[str, Any]) -> None:
    """botocore asks where obstore does: the service, the bucket, the prefix, the region, and who asks."""
    store, place = opened(OURS | options, url)
    assert place is not None
    ours = urlsplit(place.client.generate_presigned_url("get_object", place.where("id/2.0.1"), 5))
    theirs = urlsplit(store.sign("id/2.0.1", 5))
    place.client.close()
    assert ours[:3] == theirs[:3]
    signed = dict(pair.split("=") for pair in ours.query.split("&"))
    assert "eu-central-2" in signed["X-Amz-Credential"]
    assert signed["X-Amz-Credential"].startswith(KEY_ID)
    assert signed.get("X-Amz-Security-Token") == ("a%20session" if "aws_session_token" in options else None)


@pytest.mark.parametrize(
    "options",
    [
        CUSTOMERS,
        {"aws_request_payer": True},
        {"aws_role_arn": "arn:aws:iam::123456789012:role/ours"},
        {"aws_checksum_algorithm": "SHA256"},
        {"proxy_url": "http://127.0.0.1:1"},
        {"allow_invalid_certificates": True},
        {"aws_endpoint": "https://files.example.com", **VIRTUAL},
    ],
)
def test_where_botocore_could_not_follow_all_is_sent(options: dict[str, Any]) -> None:
    """What it would understand in another way, or not at all."""
    assert opened(OURS | options)[1] is None


def test_nor_without_credentials_or_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore may know who asks where botocore doesn't."""
    store, place = opened(OURS)
    assert place is not None
    place.client.close()
    monkeypatch.setenv("AWS_SSE_CUSTOMER_KEY_BASE64", CUSTOMERS["aws_sse_customer_key_base64"])
    assert s3.place(store.url, store._store) is None
    monkeypatch.delenv("AWS_SSE_CUSTOMER_KEY_BASE64")
    with monkeypatch.context() as patch:
        patch.setattr("botocore.session.Session.get_credentials", lambda _: None)
        assert s3.place(store.url, store._store) is None
    with monkeypatch.context() as patch:
        patch.setenv("AWS_PROFILE", "of nobody")
        assert s3.place(store.url, store._store) is None
    monkeypatch.setattr("bgtasks.stores.s3.has", lambda *_: False)
    assert s3.place(store.url, store._store) is None
    assert s3.place("gs://exports", None) is None


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("options", [{"aws_request_payer": True}, CUSTOMERS])
def test_what_cannot_be_copied_is_sent(bucket: Bucket, tmp_path: Path, key: str, options: dict[str, Any]) -> None:
    """The object is the same; no pieces of it were copied."""
    store = Store(bucket.url, tmp_path, options)
    parts = written(store, key, [FEW + 1, 3])
    check(store, key, parts, store.join(parts, key))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("is_option", [True, False])
def test_a_joined_object_is_encrypted_as_others_are(
    bucket: Bucket, tmp_path: Path, key: str, is_option: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the options say so or the environment does."""
    monkeypatch.setattr("bgtasks.stores.streamed", None)
    for name, value in ENCRYPTED.items():
        if not is_option:
            monkeypatch.setenv(name.upper(), str(value).lower() if value is True else str(value))
    store = Store(bucket.url, tmp_path, ENCRYPTED if is_option else {})
    place = s3.place(store.url, store._store)
    assert place is not None
    place.client.close()
    assert place.encryption == {
        "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KMS_KEY, "BucketKeyEnabled": True
    }  # fmt: skip
    if not is_option:
        return
    parts = written(store, key, [FEW, 3])
    check(store, key, parts, store.join(parts, key))
    said = bucket.head(key)
    assert (said["ServerSideEncryption"], said["SSEKMSKeyId"]) == ("aws:kms", KMS_KEY)


JOIN = """
import sys
from pathlib import Path
from bgtasks.stores import PartObject, Store
from tests.bench.memory import peak
store, key, size, count = Store(sys.argv[1], Path()), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with store.open_writer(f"{key}.1") as writer:
    for _ in range(0, size, 256 * 1024):
        writer.write(bytes(256 * 1024))
    writer.commit()
large = PartObject(f"{key}.1", writer.size, writer.sha256)
with store.open_writer(f"{key}.2") as writer:
    writer.write(bytes(1024 * 1024))
    writer.commit()
small = PartObject(f"{key}.2", writer.size, writer.sha256)
store.join([large, small], f"{key}0")  # botocore knows a lot, once
before = peak()
joined = store.join([large, *[small] * 6] * count, key)
print(joined.size, round(peak() - before))
"""


@pytest.mark.parametrize(("where", "size", "count"), [("folder", 32, 8), ("bucket", 6, 6)])
def test_joining_is_never_in_memory(
    request: pytest.FixtureRequest, tmp_path: Path, key: str, where: str, size: int, count: int
) -> None:
    """Some chunks are, however large the object and however small its parts are."""
    url = str(tmp_path / "files") if where == "folder" else request.getfixturevalue("bucket").url
    argv = [sys.executable, "-c", JOIN, url, key, str(size << 20), str(count)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    joined, grown = map(int, done.stdout.split())
    assert joined == (size + 6) * count << 20
    assert grown < 40  # MiB
