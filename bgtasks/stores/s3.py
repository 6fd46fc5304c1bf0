"""botocore's client for an S3 bucket, which asks the same service in the same way as obstore's store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import obstore

from bgtasks import s3_credentials
from bgtasks.errors import TransientError
from bgtasks.extras import has, needs
from bgtasks.store_urls import scheme
from bgtasks.stores.translating import translated

#: Requests under way at once by which a service copies; another one may send something.
AT_ONCE = 4
#: Seconds until there must be a connection, and until an answer must have begun: a piece has been copied by then.
CONNECTS, ANSWERS = 5, 60

#: What botocore is not told, or understands in another way; wherever it comes from.
FOREIGN = {
    "sse_customer_key_base64", "skip_signature", "s3_express", "request_payer", "checksum_algorithm",
    "allow_invalid_certificates", "root_certificate", "proxy_url", "proxy_ca_certificate", "proxy_excludes",
}  # fmt: skip
#: Where the options say that credentials come from: botocore looks only into the environment.
FOREIGN_OPTIONS = FOREIGN | {
    "role_arn", "role_session_name", "web_identity_token_file", "container_credentials_relative_uri",
    "container_credentials_full_uri", "container_authorization_token_file", "metadata_endpoint", "imdsv1_fallback",
}  # fmt: skip

#: How obstore is told that something is so.
YES = {"1", "true", "on", "yes", "y"}


@dataclass(frozen=True)
class Place:
    """A store's place in a bucket."""

    client: Any  #: botocore's
    bucket: str
    prefix: str  #: that of the store's keys, with a slash at its end; or empty
    encryption: Mapping[str, Any]  #: what a new upload is told, as those of obstore are

    def where(self, key: str) -> dict[str, str]:
        """An object, as requests name it."""
        return {"Bucket": self.bucket, "Key": self.prefix + key}


def place(url: str, store: Any) -> Place | None:
    """None: not in S3, or not in a way that botocore could follow (options, credentials, or it is not installed).

    :param store: obstore's.
    Raises: TransientError, where no credentials can be had just now.
    """
    if scheme(url) != "s3" or not has("botocore") or _is_foreign(store):
        return None
    bucket, prefix = store.config["bucket"], f"{store.prefix}/" if store.prefix else ""
    with translated(TransientError):
        signed = urlsplit(str(obstore.sign(store, "GET", "key", timedelta(seconds=1))))
    try:
        client = _client(store.config, signed, _service(signed, bucket, f"{prefix}key"))
    except needs("s3", "botocore.exceptions").BotoCoreError:  # no such profile, for example
        return None
    return client and Place(client, bucket, prefix, _encryption(_environment() | store.config))


def _is_foreign(store: Any) -> bool:
    options = {*store.config, *(store.client_options or {})}
    return not FOREIGN_OPTIONS.isdisjoint(options) or not FOREIGN.isdisjoint(_environment())


def _environment() -> dict[str, str]:
    """The options that obstore finds in the environment; and some more, which are none of them."""
    found = {name.lower(): value for name, value in os.environ.items()}
    return {name.removeprefix("aws_"): value for name, value in found.items() if name.startswith("aws_")}


def _service(signed: SplitResult, bucket: str, key: str) -> tuple[str, str] | None:
    """The service's own address, and how a bucket is named in requests; None: in none of the two ways."""
    path, host = unquote(signed.path), signed.netloc
    if path.endswith(f"/{bucket}/{key}"):
        return f"{signed.scheme}://{host}{path.removesuffix(f'/{bucket}/{key}')}", "path"
    if path == f"/{key}" and host.startswith(f"{bucket}."):
        return f"{signed.scheme}://{host.removeprefix(f'{bucket}.')}", "virtual"
    return None


def _client(config: Mapping[str, Any], signed: SplitResult, service: tuple[str, str] | None) -> Any:
    """None: it would not know where to ask, or as whom."""
    session = s3_credentials.session(config)
    if service is None or session.get_credentials() is None:
        return None
    endpoint, style = service
    region = s3_credentials.region(signed.query)
    return session.create_client("s3", region_name=region, endpoint_url=endpoint, config=_config(style))


def _config(style: str) -> Any:
    known = needs("s3", "botocore.config").Config
    config: dict[str, Any] = {
        "s3": {"addressing_style": style},
        "retries": {"mode": "standard", "max_attempts": 3},
        "max_pool_connections": AT_ONCE + 1,
        "connect_timeout": CONNECTS,
        "read_timeout": ANSWERS,
        # The endpoint is the one that is given, whatever a profile says.
        "use_dualstack_endpoint": False,
        "use_fips_endpoint": False,
    }
    for name in ("request_checksum_calculation", "response_checksum_validation"):
        if name in known.OPTION_DEFAULTS:  # which not every service understands that is like S3
            config[name] = "when_required"
    return known(**config)


def _encryption(said: Mapping[str, Any]) -> dict[str, Any]:
    kind = said.get("server_side_encryption")
    told: dict[str, Any] = {"ServerSideEncryption": kind} if kind else {}
    if kind and kind.startswith("aws:kms"):
        told |= {"SSEKMSKeyId": said["sse_kms_key_id"]} if said.get("sse_kms_key_id") else {}
        told |= {"BucketKeyEnabled": True} if str(said.get("sse_bucket_key_enabled")).lower() in YES else {}
    return told
