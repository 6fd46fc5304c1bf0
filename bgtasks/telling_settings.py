"""The settings of notifications that are no mails: a part of ``Settings``."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from bgtasks import webhook_secrets

#: Holds a key or a password, and is therefore shown nowhere.
_SECRET = Field(repr=False)


class TellingSettings(BaseModel):
    """Where the notifiers ``webhook`` and ``apprise`` go."""

    #: Whether ``webhook_url`` may be ``http://…``.
    webhook_allow_http: bool = False
    #: Whether its host may be in a private network, or be this machine.
    webhook_allow_private: bool = False
    #: Where the notifier ``webhook`` posts: ``https://…``.
    webhook_url: Annotated[str | None, _SECRET] = None
    #: What it signs with: ``whsec_…``, or a list of several, while one takes another's place.
    webhook_secret: Annotated[tuple[str, ...], _SECRET] = ()
    #: The services of the notifier ``apprise``: a URL of apprise's, or a list of them.
    apprise_urls: Annotated[tuple[str, ...], _SECRET] = ()

    @field_validator("webhook_url")
    @classmethod
    def _webhook_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        beginnings = ("https://", "http://") if info.data.get("webhook_allow_http") else ("https://",)
        if value and not value.startswith(beginnings):
            raise ValueError("must begin with https:// (or http://, with bgtasks_webhook_allow_http = True)")
        return value or None

    @field_validator("webhook_secret", "apprise_urls", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) and value else value or ()

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secret(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for secret in value:
            webhook_secrets.key_of(secret)
        return value
