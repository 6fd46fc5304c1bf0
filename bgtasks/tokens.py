"""Signed tokens: what a download link carries, and what it may be used for.

Signing is itsdangerous' (HMAC with SHA-256, a key per salt, a timestamp). A token's payload names
its purpose, so that one custom signer for several purposes mixes nothing up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from itsdangerous import BadData, BadTimeSignature, SignatureExpired, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_decode, base64_encode, want_bytes
from itsdangerous.serializer import Serializer

from bgtasks.errors import BadToken, ExpiredToken

MAX_TOKEN = 4096  # characters; a longer one is refused unread


@runtime_checkable
class SignerLike(Protocol):
    """What any signer of tokens must have; ``Signer`` is the built-in one."""

    #: Seconds that a token is valid for; None: for ever.
    max_age: float | None

    def dump(self, data: Any) -> str:
        """A URL-safe token over JSON data."""

    def load(self, token: str) -> Any:
        """The data of a token. Raises: BadToken, or ExpiredToken once it is older than ``max_age``."""


class _Strict(TimestampSigner):
    """Accepts one spelling of a signature: base64 has spare bits, and its decoder skips strange characters."""

    def verify_signature(self, value: str | bytes, sig: str | bytes) -> bool:
        return super().verify_signature(value, sig) and base64_encode(base64_decode(sig)) == want_bytes(sig)


class _Uncompressed(URLSafeTimedSerializer):
    """The URL-safe form without zlib, for deployments that sign data an attacker chose in part."""

    def dump_payload(self, obj: Any) -> bytes:
        return base64_encode(Serializer.dump_payload(self, obj))


class Signer:
    """Signs and checks tokens.

    :param key: one key, or several, oldest to newest: the last one signs, all of them are accepted.
    :param salt: the purpose of these tokens; another salt makes another key.
    :param serializer: an object with ``dumps`` and ``loads`` (default: compact JSON).
    :param compress: whether long payloads are compressed.
    :param max_age: seconds that a token is valid for; None: for ever.
    """

    def __init__(
        self,
        key: str | Sequence[str],
        salt: str = "bgtasks",
        serializer: Any = None,
        compress: bool = True,
        max_age: float | None = None,
    ) -> None:
        self.max_age = max_age
        make = URLSafeTimedSerializer if compress else _Uncompressed
        self._signed = make(
            key if isinstance(key, str) else list(key),
            salt=salt,
            serializer=serializer,
            signer=_Strict,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def dump(self, data: Any) -> str:
        """A URL-safe token over JSON data."""
        return str(self._signed.dumps(data))

    def load(self, token: str) -> Any:
        """The data of a token. Raises: BadToken, or ExpiredToken once it is older than ``max_age``."""
        try:
            return self._signed.loads(token, max_age=self.max_age)  # type: ignore[arg-type]
        except SignatureExpired as error:
            raise ExpiredToken from error
        except (BadTimeSignature, BadData, UnicodeError, RecursionError) as error:
            raise BadToken from error


@dataclass(frozen=True)
class Payload:
    """What a token says: it is for this purpose, about this request."""

    purpose: str
    request_id: str
    token_id: str
    data: Any = None

    def sign(self, signer: SignerLike) -> str:
        """The token."""
        return signer.dump([self.purpose, self.request_id, self.token_id, self.data])

    @classmethod
    def unsigned(cls, signer: SignerLike, token: str, purposes: Iterable[str]) -> Payload:
        """What a token says, once its signature is found good. Raises: BadToken, ExpiredToken."""
        if not isinstance(token, str) or len(token) > MAX_TOKEN:
            raise BadToken
        try:
            said = signer.load(token)
        except BadToken:
            raise
        except SignatureExpired as error:
            raise ExpiredToken from error
        except Exception as error:  # somebody else's signer: whatever it refuses with is a refusal
            raise BadToken from error
        if not isinstance(said, list | tuple) or len(said) != 4 or said[0] not in purposes:
            raise BadToken
        return cls(str(said[0]), str(said[1]), str(said[2]), said[3])


#: A download that only the request's requester may make.
FILE = "file"
#: A download by whoever holds the link.
GENERAL = "general"
#: A page that says how a request stands.
STATUS = "status"
#: What a form on such a page does.
CANCEL, DELETE = "cancel", "delete"
