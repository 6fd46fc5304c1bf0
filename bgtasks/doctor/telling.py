"""Whether the channels that file types name can be had, and their receivers reached; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bgtasks import notifiers, registry
from bgtasks.doctor.findings import Check, Finding, NotExaminedError, fault, ok, why
from bgtasks.doctor.subject import Subject
from bgtasks.errors import BgtasksError, ImproperlyConfigured

#: What configures each of those that are named; mails have a check of their own.
SETTINGS = {"webhook": "bgtasks_webhook_url and bgtasks_webhook_secret", "apprise": "bgtasks_apprise_urls"}


def notifiers_check(subject: Subject) -> Iterator[Finding]:
    """Whether each can be told something; those of somebody else's making are taken as they are."""
    if subject.key_fault is not None:
        raise NotExaminedError("the key")
    try:
        names = subject.file_types.get()
    except Exception as error:
        raise NotExaminedError("the file types") from error
    chosen: dict[str | int, tuple[Any, str]] = {}  # each with the first type that names it
    for name in names:
        for one in registry.get(name)().get_notifiers():
            chosen.setdefault(one if isinstance(one, str) else id(one), (one, name))
    found = [finding for one, name in chosen.values() if one != "email" for finding in _greeted(one, name)]
    yield from found or [ok("no file type has any but mails.")]


def _greeted(one: Any, file_type: str) -> Iterator[Finding]:
    remedy = f"mend {SETTINGS[one]}" if one in SETTINGS else f"mend the notifiers of {file_type}"
    try:
        channels = notifiers.built_in(one) if isinstance(one, str) else [one]
    except ImproperlyConfigured as error:
        yield fault(f"{file_type} tells by {one}: {error}.", remedy)
        return
    for channel in channels:
        if hasattr(channel, "greet"):
            yield _reached(channel, remedy)


def _reached(channel: Any, remedy: str) -> Finding:
    try:
        channel.greet()
    except BgtasksError as error:
        cause = f" ({why(error)})" if error.__cause__ else ""
        return fault(f"{channel.channel}: {str(error).rstrip('.')}{cause}.", remedy)
    return ok(f"{channel.channel} can be told something.")


CHECKS = (Check("notifiers", "webhooks and other services", notifiers_check),)
