"""Download tokens: what they are for, who signs them, and how long they keep a file alive."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from itsdangerous import SignatureExpired

from bgtasks import deployment, registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import BadToken, ExpiredToken, RequestNotFound, RevokedToken
from bgtasks.models import FileRequest
from bgtasks.tokens import MAX_TOKEN, Signer
from tests.conftest import KEY
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, Clock, alter, finished, fresh, in_seconds

OWN_KEY = "the key of one file type alone"


class OwnSigner(Numbers):
    """Signed with a key of its own."""

    file_type = "own_signer"
    signer = Signer(OWN_KEY, max_age=60)


class ShortLived(Numbers):
    """With links that live for a minute."""

    file_type = "short_lived"
    max_age = 60


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The signers' time."""
    return Clock(monkeypatch)


@pytest.fixture
def asked(parts: Deployment) -> FileRequest:
    """A request, as any token is about."""
    return toolbox.add_request({"count": 1}, "numbers", REQUESTER)


@pytest.mark.parametrize("data", [None, "page 3", {"plan": ["a", "b"], "none": None}, 0])
def test_a_token_brings_its_request_and_its_data(asked: FileRequest, data: Any) -> None:
    """What was put into a token comes out, with the row that it is about."""
    file_request, found = toolbox.decode(toolbox.create_token(asked, data))
    assert (file_request.id, file_request.requester, found) == (asked.id, REQUESTER, data)


@pytest.mark.parametrize("requester", [None, ""])
def test_no_requester_no_requesters_token(parts: Deployment, requester: str | None) -> None:
    """A request of nobody in particular can have general tokens alone."""
    asked = toolbox.add_request(requester=requester)
    with pytest.raises(RuntimeError, match="requester"):
        toolbox.create_token(asked)
    general = toolbox.create_general_token(asked, "data")
    assert toolbox.decode(general, require_requester=False)[1] == "data"
    with pytest.raises(BadToken):
        toolbox.decode(general)


def test_a_general_token_is_no_requesters_token(asked: FileRequest) -> None:
    """The purpose is in the token: the weaker one can't be used as the stronger."""
    general, personal = toolbox.create_general_token(asked), toolbox.create_token(asked)
    with pytest.raises(BadToken):
        toolbox.decode(general)
    assert toolbox.decode(general, require_requester=False)[0].id == asked.id
    assert toolbox.decode(personal, require_requester=False)[0].id == asked.id


@pytest.mark.parametrize(
    "payload",
    [
        lambda row: ["status", row.id, row.token_id, None],
        lambda row: ["", row.id, row.token_id, None],
        lambda row: [["file"], row.id, row.token_id, None],
        lambda row: ["file", row.id, row.token_id],
        lambda row: ["file", row.id, row.token_id, None, None],
        lambda row: ["file", "no UUID", row.token_id, None],
        lambda row: ["file", row.id, None, None],
        lambda row: ["file", row.id, "", None],
        lambda row: {"file": row.id},
        lambda row: "file",
        lambda row: None,
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_good_signature_over_something_else_is_refused(
    parts: Deployment, asked: FileRequest, payload: Callable[[FileRequest], Any]
) -> None:
    """One signer for several purposes mixes nothing up: what is signed must say that it is a download."""
    signer = Signer(KEY, "a custom purpose")
    token = toolbox.create_token(asked, signer=signer)
    assert toolbox.decode(token, signer=signer)[0].id == asked.id
    signed = signer.dump(payload(fresh(parts, asked)))
    for require_requester in (True, False):
        with pytest.raises(BadToken):
            toolbox.decode(signed, require_requester, signer)


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "." * 200, "é", "\ud800", "x" * (MAX_TOKEN + 1)])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_token_is_a_bad_token(parts: Deployment, token: str) -> None:
    """Any other text is refused in the same way."""
    with pytest.raises(BadToken):
        toolbox.decode(token)


def test_a_token_of_a_request_that_is_gone(asked: FileRequest) -> None:
    """A good token whose row was removed says that there is nothing."""
    token = toolbox.create_token(asked)
    assert toolbox.cancel(asked)
    assert toolbox.delete(asked)
    with pytest.raises(RequestNotFound):
        toolbox.decode(token)
    with pytest.raises(RequestNotFound):
        toolbox.create_token(asked)


# -- revoking ----------------------------------------------------------------------------------------


def test_revoking_makes_every_token_invalid(asked: FileRequest) -> None:
    """One stroke withdraws all links to a file, of both purposes; and a second one finds none."""
    tokens = toolbox.create_token(asked), toolbox.create_token(asked, "data"), toolbox.create_general_token(asked)
    assert toolbox.revoke(asked, "the operator")
    for token in tokens:
        with pytest.raises(RevokedToken):
            toolbox.decode(token, require_requester=False)
    assert not toolbox.revoke(asked)


def test_a_token_made_after_a_revocation_works(asked: FileRequest) -> None:
    """A new link can be granted, and it does not bring the old one back."""
    old = toolbox.create_token(asked)
    toolbox.revoke(asked)
    new = toolbox.create_token(asked)
    assert toolbox.decode(new)[0].id == asked.id
    with pytest.raises(RevokedToken):
        toolbox.decode(old)


# -- whose signer ------------------------------------------------------------------------------------


def test_a_signer_for_one_call(asked: FileRequest) -> None:
    """A token signed by a signer of one's own is known to that signer alone."""
    signer = Signer(KEY, "mine", max_age=60)
    token = toolbox.create_token(asked, "data", signer)
    assert toolbox.decode(token, signer=signer)[1] == "data"
    with pytest.raises(BadToken):
        toolbox.decode(token)
    with pytest.raises(BadToken):
        toolbox.decode(toolbox.create_token(asked), signer=signer)


def test_a_signer_for_one_file_type(parts: Deployment) -> None:
    """A file type's requests are signed by its own signer, which ``decode`` finds by itself."""
    registry.register(OwnSigner)
    asked = toolbox.add_request(file_type="own_signer", requester=REQUESTER)
    token = toolbox.create_token(asked, "data")
    assert toolbox.decode(token)[1] == OwnSigner.signer.load(token)[-1] == "data"
    with pytest.raises(BadToken):
        toolbox.get_default_signer().load(token)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_other_signer_speaks_for_a_file_type(parts: Deployment) -> None:
    """A token about one type's request counts only if that type's signer made it, not another known one."""
    registry.register(OwnSigner)
    own = toolbox.add_request(file_type="own_signer", requester=REQUESTER)
    plain = toolbox.add_request(file_type="numbers", requester=REQUESTER)
    default = toolbox.get_default_signer()
    for row, signer in ((own, default), (plain, OwnSigner.signer)):
        with pytest.raises(BadToken):
            toolbox.decode(toolbox.create_token(row, signer=signer))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_age_that_counts_is_the_file_types(parts: Deployment, clock: Clock) -> None:
    """A type with a shorter ``max_age`` than the default is not saved by the default signer, which has its key."""
    registry.register(ShortLived)
    short = toolbox.create_token(toolbox.add_request(file_type="short_lived", requester=REQUESTER))
    usual = toolbox.create_token(toolbox.add_request(file_type="numbers", requester=REQUESTER))
    clock.forward(61)
    assert toolbox.decode(usual)
    with pytest.raises(ExpiredToken):
        toolbox.decode(short)


class TooOld(Exception):
    """What a signer of somebody else's raises."""


class HomeMade:
    """Signs nothing at all, and has nothing of ours but the three names."""

    max_age = 60.0
    refusal: type[Exception] | None = None

    def dump(self, data: Any) -> str:
        return json.dumps(data).encode().hex()

    def load(self, token: str) -> Any:
        if self.refusal:
            raise self.refusal("a word about it")
        return json.loads(bytes.fromhex(token))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_any_object_with_three_names_can_sign(asked: FileRequest) -> None:
    """``dump``, ``load`` and ``max_age`` are all that a signer needs."""
    signer = HomeMade()
    assert toolbox.decode(toolbox.create_token(asked, "data", signer), signer=signer)[1] == "data"
    with pytest.raises(BadToken):
        toolbox.decode("no hex", signer=signer)


@pytest.mark.parametrize(
    ("raised", "refusal"),
    [(TooOld, BadToken), (KeyError, BadToken), (SignatureExpired, ExpiredToken), (ExpiredToken, ExpiredToken)],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_whatever_a_signer_raises_is_a_refusal(
    asked: FileRequest, raised: type[Exception], refusal: type[Exception]
) -> None:
    """A foreign signer's own exceptions become ours; "too old" is kept apart where it can be told."""
    signer = HomeMade()
    token = toolbox.create_token(asked, signer=signer)
    signer.refusal = raised
    with pytest.raises(refusal) as refused:
        toolbox.decode(token, signer=signer)
    assert type(refused.value) is refusal


class EmptySigner(Signer):
    """A signer that has a length, and none to speak of."""

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_signer_is_not_judged_by_its_truth(asked: FileRequest) -> None:
    """The signer of a call is used because it was given, whatever ``bool()`` says of it."""
    signer = EmptySigner(KEY, "mine")
    token = toolbox.create_token(asked, signer=signer)
    assert toolbox.decode(token, signer=signer)[0].id == asked.id
    with pytest.raises(BadToken):
        toolbox.decode(token)


# -- settings ----------------------------------------------------------------------------------------

#: The signer that ``bgtasks_default_signer`` names by its path below.
deployments_signer = Signer(OWN_KEY, "the deployment's", max_age=120)


class Reversed:
    """A serializer that can be told from the default one."""

    @staticmethod
    def dumps(data: Any) -> str:
        return json.dumps(data)[::-1]

    @staticmethod
    def loads(text: str | bytes) -> Any:
        return json.loads((text.decode() if isinstance(text, bytes) else text)[::-1])


@pytest.fixture
def configured(request: pytest.FixtureRequest, app: Celery) -> dict[str, Any]:
    """The app, with the settings that the test is parametrised with."""
    app.conf.update(request.param)
    return request.param


BY_PATH = {"bgtasks_default_signer": f"{__name__}:deployments_signer"}
BY_OBJECT = {"bgtasks_default_signer": deployments_signer}


@pytest.mark.parametrize("configured", [BY_PATH, BY_OBJECT], indirect=True)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_deployments_own_signer(configured: dict[str, Any]) -> None:
    """``bgtasks_default_signer`` names a signer, or is one, and every type without its own uses it."""
    assert toolbox.get_default_signer() is deployments_signer
    asked = toolbox.add_request(file_type="numbers", requester=REQUESTER)
    token = toolbox.create_token(asked, "data")
    assert deployments_signer.load(token)[-1] == toolbox.decode(token)[1] == "data"


@pytest.mark.parametrize("configured", [{"bgtasks_default_serializer": f"{__name__}:Reversed"}], indirect=True)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_deployments_own_serializer(configured: dict[str, Any]) -> None:
    """``bgtasks_default_serializer`` writes the payload of the built-in signer."""
    asked = toolbox.add_request(file_type="numbers", requester=REQUESTER)
    token = toolbox.create_token(asked, "data")
    assert toolbox.decode(token)[1] == "data"
    assert Signer(KEY, "bgtasks.download", Reversed).load(token)[1] == asked.id
    with pytest.raises(BadToken):
        Signer(KEY, "bgtasks.download").load(token)


@pytest.mark.parametrize("configured", [{"bgtasks_default_key": [KEY, OWN_KEY]}], indirect=True)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_deployments_keys_rotate(configured: dict[str, Any]) -> None:
    """``bgtasks_default_key`` may list keys: a link that the old one has signed still works."""
    asked = toolbox.add_request(file_type="numbers", requester=REQUESTER)
    old = toolbox.create_token(asked, signer=Signer(KEY, "bgtasks.download"))
    assert toolbox.decode(old)[0].id == asked.id
    assert Signer(OWN_KEY, "bgtasks.download").load(toolbox.create_token(asked))


# -- how long a file is kept -------------------------------------------------------------------------


def test_a_token_keeps_its_file_alive(parts: Deployment) -> None:
    """``expires_at`` moves forward with a new link, so that the link never outlives its file."""
    ready = finished()
    alter(parts, ready, expires_at=in_seconds(10))
    toolbox.create_token(ready)
    expires = fresh(parts, ready).expires_at
    assert expires is not None
    assert in_seconds(86_300) < expires < in_seconds(86_500)


def test_a_token_never_shortens_a_files_life(parts: Deployment) -> None:
    """``expires_at`` never moves back: other links may be out."""
    ready = finished()
    before = fresh(parts, ready).expires_at
    toolbox.create_token(ready, signer=Signer(KEY, "mine", max_age=60))
    assert fresh(parts, ready).expires_at == before


def test_a_token_without_an_end_keeps_its_file_for_ever(parts: Deployment) -> None:
    """``max_age=None`` makes ``expires_at`` NULL, and no later token brings an end back."""
    ready = finished()
    toolbox.create_token(ready, signer=Signer(KEY, "mine", max_age=None))
    assert fresh(parts, ready).expires_at is None
    toolbox.create_token(ready, signer=Signer(KEY, "mine", max_age=60))
    assert fresh(parts, ready).expires_at is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("max_age", "seconds"), [(60, 60), (None, None), ("default", 86_400)])
def test_a_file_types_max_age_is_its_signers(app: Celery, max_age: Any, seconds: float | None) -> None:
    """``max_age`` is one number: for how long links are signed, and for how long files are kept."""

    class Aged(Numbers):
        file_type = "aged"

    Aged.max_age = max_age
    assert Aged().get_signer().max_age == Aged().get_max_age() == seconds
    assert (Aged().get_signer() is deployment.current().default_signer) == (max_age == "default")
