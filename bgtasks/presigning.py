"""Addresses of objects in an S3 bucket: they work for a moment, and the file's name is in their signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from bgtasks import s3_credentials
from bgtasks.errors import ImproperlyConfigured
from bgtasks.extras import needs
from bgtasks.store_urls import scheme

if TYPE_CHECKING:
    from bgtasks.stores import Store

#: The longest that such an address may work. Seconds; a browser follows it at once.
MOST = 60

NO_CREDENTIALS = (
    "bgtasks_redirect_to_store needs credentials to sign with, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "and there are none"
)


class Presigner:
    """Signs what obstore can't: an address whose answer has headers of our choice.

    The address itself, the region and the service's endpoint are those of the store: it is obstore's own presigned
    URL, whose query is replaced. The credentials are those of ``bgtasks_store_options``, or else botocore's, from the
    same environment variables or instance role.
    Raises: ImproperlyConfigured.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._auth = needs("s3", "botocore.auth")
        self._request = needs("s3", "botocore.awsrequest").AWSRequest
        self._credentials = s3_credentials.session(store.config).get_credentials()
        if self._credentials is None:
            raise ImproperlyConfigured(NO_CREDENTIALS)

    def url(self, key: str, seconds: int, **answer: str) -> str:
        """Where to get an object. It is not looked at whether there is one.

        :param seconds: how long the address works.
        :param answer: headers of the answer: ``content_type``, ``content_disposition``, ``cache_control``.
        Raises: TransientError, where no credentials can be had just now.
        """
        where = urlsplit(self._store.sign(key, seconds))
        headers = {f"response-{name.replace('_', '-')}": value for name, value in answer.items()}
        wanted: Any = self._request("GET", urlunsplit(where._replace(query=urlencode(headers))))
        # AWS signature version 4, in the query: …/AmazonS3/latest/API/sigv4-query-string-auth.html
        signer = self._auth.S3SigV4QueryAuth(
            self._credentials.get_frozen_credentials(), "s3", s3_credentials.region(where.query), expires=seconds
        )
        signer.add_auth(wanted)
        return str(wanted.url)


def is_possible(store: Store) -> bool:
    """Whether addresses in a store can be signed: of S3, where no key of the customer's must be sent along."""
    return scheme(store.url) == "s3" and "sse_customer_key_base64" not in store.config
