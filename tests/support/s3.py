"""A real S3 API on a free port: moto's server, in a thread of the tests' process."""

from __future__ import annotations

import functools
import http.client
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config

from tests.support.services import missing

REGION = "eu-west-1"
KEY_ID = "AKIDEXAMPLE"
PREFIX = "exports of ours"
SECRET = "the secret key of nobody"


@dataclass(frozen=True)
class Bucket:
    """An empty bucket, and what an application must know to reach it."""

    name: str
    endpoint: str

    @property
    def url(self) -> str:
        """``bgtasks_store_url``: a prefix that must be quoted is part of it."""
        return f"s3://{self.name}/{PREFIX}"

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables of a process that uses it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @functools.cached_property
    def client(self) -> Any:
        """botocore's own, which sees what a store does not show."""
        path_style = Config(s3={"addressing_style": "path"})
        session = botocore.session.get_session()
        session.set_credentials(KEY_ID, SECRET)
        return session.create_client("s3", region_name=REGION, endpoint_url=self.endpoint, config=path_style)

    def unfinished(self) -> list[str]:
        """The keys of the multi-part uploads that are neither complete nor aborted: they cost money, and stay."""
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())]

    def fetch(self, url: str) -> tuple[int, bytes]:
        """What is answered at an address in the bucket."""
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.netloc, timeout=10)
        connection.request("GET", f"{where.path}?{where.query}")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def head(self, key: str) -> dict[str, Any]:
        """What the service says of an object.

        :param key: within the store.
        """
        found: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=f"{PREFIX}/{key}")
        return found


class S3:
    """The server."""

    def __init__(self) -> None:
        try:
            from moto.server import ThreadedMotoServer
        except ImportError:
            missing("moto's server")
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"

    def bucket(self, name: str) -> Bucket:
        """A new one."""
        where = (
            f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        )
        connection = http.client.HTTPConnection(urlsplit(self.endpoint).netloc)
        connection.request("PUT", f"/{name}", where)
        answer = connection.getresponse()
        connection.close()
        assert answer.status == 200, answer.reason
        return Bucket(name, self.endpoint)

    def stop(self) -> None:
        """End it."""
        self._server.stop()
