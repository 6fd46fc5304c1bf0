"""The built-in signer: what it signs comes back, and nothing else does."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous.encoding import base64_decode

from bgtasks.errors import BadToken, ExpiredToken
from bgtasks.tokens import Signer, SignerLike
from tests.support.handmade import Clock

OLD, KEY, OTHER = "an old key of some length", "a key of some length", "another key of some length"
DATA = ["file", "3f2a9c1b", {"name": "Zoë", "numbers": [1, 2.5, None, True]}]
BASE64 = string.ascii_letters + string.digits + "-_"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The signers' time."""
    return Clock(monkeypatch)


@pytest.mark.parametrize("compress", [True, False])
@given(data=values)
def test_data_comes_back_as_it_was(compress: bool, data: Any) -> None:
    """Any JSON data survives a round trip."""
    signer = Signer(KEY, compress=compress)
    assert signer.load(signer.dump(data)) == data


@given(data=values)
def test_a_token_is_url_safe(data: Any) -> None:
    """A token can stand in a URL's path as it is (RFC 3986, 2.3)."""
    assert re.fullmatch(r"[A-Za-z0-9._~-]+", Signer(KEY).dump(data))


@pytest.mark.parametrize("position", range(len(Signer(KEY).dump(DATA))))
def test_no_character_of_a_token_can_be_changed(position: int) -> None:
    """A token with any other character in any place is refused, whatever base64 makes of it."""
    signer = Signer(KEY)
    token = signer.dump(DATA)
    for character in sorted({*BASE64, *".!= \n", "é"} - {token[position]}):
        with pytest.raises(BadToken):
            signer.load(token[:position] + character + token[position + 1 :])


def test_a_token_has_one_spelling() -> None:
    """Nothing can be added to a token, not even what a base64 decoder would skip."""
    signer = Signer(KEY)
    token = signer.dump(DATA)
    for extended in (token + "=", token + "!", token + "\n", " " + token, token[:-3] + "!" + token[-3:]):
        with pytest.raises(BadToken):
            signer.load(extended)


@pytest.mark.parametrize("length", range(len(Signer(KEY).dump(DATA))))
def test_a_truncated_token_is_refused(length: int) -> None:
    """No beginning of a token is one."""
    signer = Signer(KEY)
    with pytest.raises(BadToken):
        signer.load(signer.dump(DATA)[:length])


@given(text=st.text())
def test_any_other_text_is_refused(text: str) -> None:
    """Whatever is no token is refused in the same way."""
    with pytest.raises(BadToken):
        Signer(KEY, max_age=60).load(text)


@pytest.mark.parametrize(
    "other", [Signer(OTHER), Signer(KEY, "another salt"), Signer([KEY, OTHER], "bgtasks.download")]
)
def test_another_key_or_salt_signs_otherwise(other: Signer) -> None:
    """A token is good for the key and the salt that it was made with."""
    with pytest.raises(BadToken):
        other.load(Signer(KEY).dump(DATA))


def test_the_last_key_signs_and_all_are_accepted() -> None:
    """Keys are listed oldest to newest: old links go on working, new ones need only the new key."""
    rotating = Signer([OLD, KEY])
    assert rotating.load(Signer(OLD).dump(DATA)) == DATA
    assert rotating.load(Signer(KEY).dump(DATA)) == DATA
    assert Signer(KEY).load(rotating.dump(DATA)) == DATA
    with pytest.raises(BadToken):
        Signer(OLD).load(rotating.dump(DATA))


def test_a_removed_key_is_refused() -> None:
    """What a removed key has signed is worth nothing any more."""
    token = Signer([OLD, KEY]).dump(DATA)
    with pytest.raises(BadToken):
        Signer([OTHER]).load(token)
    with pytest.raises(BadToken):
        Signer([KEY, OTHER]).load(Signer(OLD).dump(DATA))


def test_signatures_are_sha_256() -> None:
    """A signature is an HMAC with SHA-256, under a key that is derived with it from the salt."""
    value, _, signature = Signer(KEY, "a salt").dump(DATA).rpartition(".")
    derived = hmac.digest(KEY.encode(), b"a salt", hashlib.sha256)
    assert base64_decode(signature) == hmac.digest(derived, value.encode(), hashlib.sha256)


def test_long_payloads_are_compressed_where_that_is_wanted() -> None:
    """Compression shortens a long payload; without it the payload is there to be read."""
    long = ["word"] * 200
    compressed, plain = Signer(KEY).dump(long), Signer(KEY, compress=False).dump(long)
    assert len(compressed) < len(plain) / 5
    assert json.loads(base64_decode(plain.split(".")[0])) == long
    # Either reads the other's: the switch can be turned while links are out.
    assert Signer(KEY).load(plain) == Signer(KEY, compress=False).load(compressed) == long


def test_a_serializer_of_ones_own_is_used() -> None:
    """An object with ``dumps`` and ``loads`` says how the payload is written."""

    class Shouting:
        @staticmethod
        def dumps(data: Any) -> str:
            return json.dumps(data).upper()

        @staticmethod
        def loads(text: str | bytes) -> Any:
            return json.loads(text)

    signer = Signer(KEY, serializer=Shouting, compress=False)
    assert signer.load(signer.dump(["quiet"])) == ["QUIET"]


def test_a_payload_that_its_serializer_does_not_understand_is_refused() -> None:
    """A good signature over something else is a bad token, not an error."""

    class Broken:
        dumps = staticmethod(json.dumps)

        @staticmethod
        def loads(text: str | bytes) -> Any:
            raise ValueError("not mine")

    with pytest.raises(BadToken):
        Signer(KEY, serializer=Broken).load(Signer(KEY).dump(DATA))


def test_a_token_expires_after_max_age(clock: Clock) -> None:
    """A token works up to its ``max_age``, and not a second longer."""
    signer = Signer(KEY, max_age=60)
    token = signer.dump(DATA)
    clock.forward(60)
    assert signer.load(token) == DATA
    clock.forward(1)
    with pytest.raises(ExpiredToken):
        signer.load(token)


def test_a_forged_token_is_never_called_expired(clock: Clock) -> None:
    """Whoever did not sign a token is told nothing about its age."""
    token = Signer(OTHER).dump(DATA)
    clock.forward(1000)
    with pytest.raises(BadToken) as refused:
        Signer(KEY, max_age=60).load(token)
    assert not isinstance(refused.value, ExpiredToken)


def test_without_a_max_age_a_token_never_expires(clock: Clock) -> None:
    """``max_age=None`` is for ever."""
    signer = Signer(KEY, max_age=None)
    token = signer.dump(DATA)
    clock.forward(100 * 365 * 86_400)
    assert signer.load(token) == DATA


def test_the_signer_is_what_any_signer_must_be() -> None:
    """The built-in one has what is asked of others."""
    assert isinstance(Signer(KEY), SignerLike)
