"""A real S3 API on a free port: moto's server, in a thread of the tests' process."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support.services import missing

REGION = "eu-west-1"
KEY_ID = "AKIDEXAMPLE"
SECRET = "the secret key of nobody"


@dataclass(frozen=True)
class Bucket:
    """An empty bucket, and what an application must know to reach it."""

    name: str
    endpoint: str

    @property
    def url(self) -> str:
        """``bgtasks_store_url``: a prefix that must be quoted is part of it."""
        return f"s3://{self.name}/exports of ours"

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
