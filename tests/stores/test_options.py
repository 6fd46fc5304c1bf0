"""``bgtasks_store_options``: what buckets are opened with, and what is said of an option that can't be."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from obstore.exceptions import UnknownConfigurationKeyError
from obstore.store import from_url
from werkzeug.test import Client

from bgtasks import s3_credentials, settings, store_urls, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, TransientError
from bgtasks.presigning import Presigner, is_possible
from bgtasks.stores import WRITE_BUFFER, Store
from bgtasks.stores.uploads import SMALL
from bgtasks.wsgi import application
from tests.support.handmade import CONTENTS, REQUESTER, finished
from tests.support.s3 import KEY_ID, SECRET, Bucket

KMS_KEY = "arn:aws:kms:eu-west-1:123456789012:key/8b1d1c3a-1f7e-4d0a-9d5c-0c9c1a2b3c4d"
ENCRYPTED = {"aws_server_side_encryption": "aws:kms", "aws_sse_kms_key_id": KMS_KEY, "aws_sse_bucket_key_enabled": True}
#: Where nobody listens.
NOWHERE = "http://127.0.0.1:1"
#: The key of a customer, who keeps it: 32 bytes.
CUSTOMERS = {
    "aws_server_side_encryption": "sse-c",
    "aws_sse_customer_key_base64": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
}


def read(environ: dict[str, str] | None = None, **conf: Any) -> settings.Settings:
    """Settings from these."""
    named = {f"bgtasks_{name}": value for name, value in {"default_key": SECRET, **conf}.items()}
    return settings.read(named, environ or {}, Path("/srv/app"))


def test_a_bucket_is_opened_with_what_fits_it() -> None:
    """One mapping serves all stores; the longest beginning of a URL has the last word."""
    options = store_urls.check_options({
        "allow_http": True,
        "aws_region": "eu-west-1",
        "azure_storage_account_name": "ours",
        "s3://salaries": {"aws_region": "eu-central-2", "aws_disable_tagging": True},
        "s3://salaries/2013/": {"aws_region": "us-east-1"},
        "az://archive": {"azure_storage_account_name": "theirs"},
    })  # fmt: skip

    def chosen(url: str) -> dict[str, Any]:
        return store_urls.options_of(url, options)

    assert chosen("s3://exports/x") == {"allow_http": True, "aws_region": "eu-west-1"}
    assert chosen("s3://salaries") == {"allow_http": True, "aws_region": "eu-central-2", "aws_disable_tagging": True}
    assert chosen("s3://salaries/2013")["aws_region"] == chosen("s3://salaries/2013/q1")["aws_region"] == "us-east-1"
    assert chosen("s3://salaries-of-2013")["aws_region"] == "eu-west-1"
    assert chosen("az://archive")["azure_storage_account_name"] == "theirs"
    assert chosen("gs://exports") == {"allow_http": True}


@pytest.mark.parametrize("kind", store_urls.OPTIONS)
def test_every_option_that_is_accepted_is_one_of_obstores(kind: str) -> None:
    """What is no option of its version would otherwise be found out by the first request."""
    for name in store_urls.OPTIONS[kind]:
        try:
            from_url(f"{kind}://bucket", config={name: "x"})
        except UnknownConfigurationKeyError:
            pytest.fail(name)
        except Exception:  # a value that is not good: the name is
            continue
    with pytest.raises(UnknownConfigurationKeyError):
        from_url(f"{kind}://bucket", config={"aws_no_such_thing": "x"})


def test_every_option_of_connections_is_one_of_obstores() -> None:
    """The same for what any bucket may be told."""
    for name in store_urls.CLIENT:
        try:
            from_url("s3://bucket", client_options={name: "10s"})  # type: ignore[misc]
        except ValueError as error:
            assert "Invalid key" not in str(error)  # noqa: PT017
        except Exception:
            continue


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"aws_server_side_encryptoin": "AES256"},
            "'aws_server_side_encryptoin' is no option: did you mean 'aws_server_side_encryption'",
        ),
        ({"region": "eu-west-1"}, "'region' is no option: did you mean 'aws_region'"),
        ({"aws_allow_http": True}, "'aws_allow_http' is no option: did you mean 'allow_http'"),
        ({"aws_bucket": "another"}, "'aws_bucket' is no option"),
        ({"aws_secret_access_key": None}, "'aws_secret_access_key' needs a text, a number, true or false"),
        ({"aws_secret_access_key": [SECRET]}, "'aws_secret_access_key' needs a text"),
        ({"aws_secret_access_key": f"{SECRET}\n"}, "'aws_secret_access_key' has a line break"),
        ({"aws_endpoint": f"http://key:{SECRET}@127.0.0.1:9000"}, "'aws_endpoint' takes no user"),
        ({"s3://bucket": {"google_base_url": SECRET}}, "'google_base_url' is no option of a store of s3://"),
        ({"gs://bucket": {"google_base_url": f"http://{SECRET}@h"}}, "'google_base_url' takes no user"),
        ({"azure_fabric_token_service_url": f"http://{SECRET}@h"}, "'azure_fabric_token_service_url' takes no user"),
        ({"s3://bucket": {"azure_client_id": SECRET}}, "'azure_client_id' is no option of a store of s3://"),
        ({"s3://bucket": {"s3://inner": {}}}, "'s3://inner' is no option of a store of s3://"),
        ({"/srv/files": {"aws_region": SECRET}}, "a folder has no options"),
        ({f"s3://key:{SECRET}@bucket": {}}, "the beginning of a URL takes no user, password"),
        ({"ftp://bucket": {}}, "the beginning of a URL must be the path"),
        ([SECRET], "must be a mapping"),
        (SECRET, "must be a mapping"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_named_at_the_start(options: Any, said: str) -> None:
    """And no value is shown: it may be a secret."""
    with pytest.raises(ImproperlyConfigured, match="bgtasks_store_options: ") as caught:
        read(store_options=options)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def test_what_has_several_lines_or_a_sign_like_that_of_a_user_is_taken() -> None:
    """A bundle of certificates begins with a comment, or a mark of the order of bytes."""
    options = {
        "root_certificate": "\n# Issuer: ours\r\n-----BEGIN CERTIFICATE-----\n",
        "google_service_account_key": '\ufeff{\n "type": "service_account"}',
        "aws_endpoint": "http://127.0.0.1:9000/@tenant",
        "proxy_url": f"http://user:{SECRET}@proxy",
    }
    assert store_urls.check_options(options) == options


def test_options_come_from_the_environment_as_json() -> None:
    """And they are shown nowhere."""
    made = read({"BGTASKS_STORE_OPTIONS": json.dumps({"aws_secret_access_key": SECRET, "pool_max_idle_per_host": 5})})
    assert made.store_options == {"aws_secret_access_key": SECRET, "pool_max_idle_per_host": "5"}
    assert SECRET not in repr(made)
    assert read({"BGTASKS_STORE_OPTIONS": ""}).store_options == {}
    with pytest.raises(ImproperlyConfigured, match=r"bgtasks_store_options: .* object in JSON") as caught:
        read({"BGTASKS_STORE_OPTIONS": f"{{{SECRET}"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", [f"s3://{KEY_ID}:{SECRET}@bucket", f"s3://bucket?key={SECRET}", f"az://c/x#{SECRET}"])
def test_a_url_holds_no_secret(url: str) -> None:
    """obstore would overlook it without a word; and a file type's is written to the database."""
    with pytest.raises(ImproperlyConfigured, match=r"bgtasks_store_url: .*takes no user, password") as caught:
        read(store_url=url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("az://container/x", {}, "az://container/x can't be opened: .*Account must be specified"),
        ("s3://bucket", {"aws_server_side_encryption": "rot13"}, "Invalid encryption type: rot13"),
        ("s3://bucket", {"aws_secret_access_key": SECRET}, "Missing AccessKeyId .*aws_secret_access_key"),
        ("s3://bucket", {"aws_skip_signature": SECRET}, "failed to parse .*aws_skip_signature"),
        ("gs://bucket", {"google_service_account_key": SECRET}, "google_service_account_key"),
        ("gs://bucket", {"google_service_account": f"/{SECRET}"}, "Unable to open service account file"),
        ("az://c", {"azure_storage_account_name": "a", "azure_storage_account_key": SECRET}, "Invalid Access Key"),
        ("s3://bucket", {"timeout": SECRET}, "timeout"),
    ],
)  # fmt: skip
def test_what_obstore_refuses_is_said_without_values(url: str, options: dict[str, Any], said: str) -> None:
    """By the name of the option, when the store is opened; the error has no cause that a log would show."""
    with pytest.raises(ImproperlyConfigured, match=said) as caught:
        Store(url, Path(), options)
    assert SECRET not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("gs://bucket/prefix", {"google_skip_signature": True, "google_base_url": NOWHERE}),
        (
            "az://container/prefix",
            {"azure_storage_account_name": "ours", "azure_skip_signature": True, "azure_endpoint": NOWHERE},
        ),
        ("s3://bucket/prefix", {"aws_endpoint": NOWHERE, "aws_skip_signature": True}),
    ],
)
def test_opening_asks_for_nothing(url: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that does not answer is found out by the first object, and is a transient error."""
    monkeypatch.setattr("bgtasks.stores.opening.RETRIES", {"max_retries": 0})
    store = Store(url, Path(), {**options, "allow_http": True})
    assert store.local_path("a/1") is None
    with pytest.raises(TransientError):
        store.size("a/1")


@pytest.mark.parametrize("size", [9, SMALL + 1, WRITE_BUFFER + 1])
def test_credentials_that_no_request_can_hold_are_told(size: int) -> None:
    """From the environment, as a secret's file may end with a line break: obstore panics over them."""
    options = {"aws_access_key_id": f"{KEY_ID}\n", "aws_secret_access_key": SECRET, "aws_endpoint": NOWHERE}
    store = Store("s3://bucket", Path(), {**options, "allow_http": True})
    with (
        pytest.raises(ImproperlyConfigured, match="look for a line break") as caught,
        store.open_writer("a/1", lambda: None) as buffer,
    ):
        buffer.write(bytes(size))
        buffer.commit()
    assert SECRET not in str(caught.value)
    with pytest.raises(ImproperlyConfigured, match="look for a line break"):
        store.size("a/1")


def test_botocore_tells_its_log_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Not even where everything is logged; unless that is asked for."""
    with caplog.at_level(logging.DEBUG):
        session = s3_credentials.session({"access_key_id": KEY_ID, "secret_access_key": SECRET})
        client = session.create_client("s3", region_name="eu-west-1")
        signed = client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "secret-key"})
    assert "secret-key" in signed
    assert not [record for record in caplog.records if record.name.startswith("botocore")]


# -- encryption, on a real S3 API ----------------------------------------------------------------------


@pytest.fixture
def database_url(sqlite: str) -> str:
    """One kind is enough here."""
    return sqlite


@pytest.fixture
def conf(bucket: Bucket, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The files are in a bucket, are encrypted there, and are sent from there."""
    options = getattr(request, "param", ENCRYPTED)
    return {"bgtasks_store_url": bucket.url, "bgtasks_store_options": options, "bgtasks_redirect_to_store": True}


@pytest.mark.parametrize("size", [1, WRITE_BUFFER + 1])
def test_an_object_has_the_encryption_that_was_asked_for(parts: Deployment, bucket: Bucket, size: int) -> None:
    """A small one, and one that goes in parts."""
    ready = finished(bytes(size))
    said = bucket.head(str(ready.object_key))
    assert (said["ServerSideEncryption"], said["SSEKMSKeyId"]) == ("aws:kms", KMS_KEY)
    assert said.get("BucketKeyEnabled", size > 1)  # which moto does not keep of an upload in parts
    assert sum(map(len, parts.store.read(str(ready.object_key)))) == size


def test_a_presigned_address_of_an_encrypted_object_works(parts: Deployment, bucket: Bucket) -> None:
    """S3 decrypts for whoever may read: the address needs nothing more, and says nothing of the encryption."""
    ready = finished()
    path = f"/files/{toolbox.create_token(ready)}"
    sent = Client(application).get(path, environ_overrides={"REMOTE_USER": REQUESTER})
    assert sent.status_code == 302
    assert "encryption" not in sent.headers["Location"]
    assert bucket.fetch(sent.headers["Location"]) == (200, CONTENTS)


@pytest.mark.parametrize("conf", [CUSTOMERS], indirect=True)
def test_where_the_customer_keeps_the_key_files_are_streamed(parts: Deployment, bucket: Bucket) -> None:
    """A browser can't send it along, and must not have it."""
    assert not is_possible(parts.store)
    ready = finished()
    path = f"/files/{toolbox.create_token(ready)}"
    sent = Client(application).get(path, environ_overrides={"REMOTE_USER": REQUESTER})
    assert (sent.status_code, sent.get_data()) == (200, CONTENTS)


def test_addresses_are_signed_with_the_credentials_of_the_options(tmp_path: Path) -> None:
    """Not with others that happen to be in the environment."""
    options = {"aws_access_key_id": "AKIDOTHER", "aws_secret_access_key": SECRET, "aws_session_token": "a session"}
    made = Presigner(Store("s3://bucket", tmp_path, options)).url("id/1", 5)
    signed = parse_qs(urlsplit(made).query)
    assert signed["X-Amz-Credential"][0].startswith("AKIDOTHER/")
    assert signed["X-Amz-Security-Token"] == ["a session"]
    assert SECRET not in made
