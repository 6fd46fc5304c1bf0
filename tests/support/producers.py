"""Apps of a test's own process, as a deployment's producer has one."""

from __future__ import annotations

from typing import Any

from celery import Celery

from bgtasks.stack import Stack


def producer(name: str, configuration: str, stack: Stack) -> Celery:
    """An app that is configured as the stack's workers are, by their environment; not the current one yet.

    :param configuration: the module of the settings.
    """
    made = Celery(name, set_as_current=False)
    made.config_from_object(configuration)
    made.conf.update(settings_of(stack))
    return made


def settings_of(stack: Stack) -> dict[str, Any]:
    """What the workers find in their environment, as settings."""
    ours = {name.lower(): value for name, value in stack.env.items() if name.startswith("BGTASKS_")}
    return {
        "broker_url": stack.env["CELERY_BROKER_URL"],
        "result_backend": stack.env["CELERY_RESULT_BACKEND"],
        **ours,
    }
