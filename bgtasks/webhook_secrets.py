"""The secrets of webhooks, in the form that Standard Webhooks gives them: ``whsec_`` and a key in base64."""

from __future__ import annotations

import base64
import binascii

PREFIX = "whsec_"
#: Bytes that a key must have at least, and may have at most ("Signature scheme" in the specification).
SHORTEST, LONGEST = 24, 64
FORM = (
    f"must look like {PREFIX}… with a key of {SHORTEST} to {LONGEST} bytes in base64; make one with "
    f"python3 -c 'import base64, secrets; print(\"{PREFIX}\" + base64.b64encode(secrets.token_bytes(32)).decode())'"
)


def key_of(secret: object) -> bytes:
    """The key of a secret. Raises: ValueError, which does not repeat it."""
    text = secret if isinstance(secret, str) else ""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(FORM)
    return key
