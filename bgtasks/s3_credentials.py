"""What botocore must know to do with a bucket what obstore can't: who asks, and for which region."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from bgtasks.extras import needs


def session(config: Mapping[str, Any]) -> Any:
    """botocore's session. Its credentials are those of the options, or else of the same environment variables or
    instance role that obstore asks; maybe there are none.

    :param config: what a store was opened with, by obstore's short names.
    Raises: ImproperlyConfigured, without botocore.
    """
    names = "access_key_id", "secret_access_key", "session_token"
    key_id, secret, token = (config.get(name) for name in names)
    if not (logger := logging.getLogger("botocore")).level:  # with DEBUG for all, it would tell tokens and signed URLs
        logger.setLevel(logging.WARNING)
    made = needs("s3", "botocore.session").get_session()
    if key_id and secret:
        made.set_credentials(key_id, secret, token)
    return made


def region(query: str) -> str:
    """The region that a signature is for: the third part of ``<key id>/<date>/<region>/s3/aws4_request``.

    :param query: of a presigned URL.
    """
    return parse_qs(query)["X-Amz-Credential"][0].split("/")[-3]
