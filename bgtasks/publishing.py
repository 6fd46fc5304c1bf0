"""Waking the workers: a request's chain is published as far as its row says that it is outstanding."""

from __future__ import annotations

import logging

from kombu.exceptions import OperationalError

from bgtasks import registry
from bgtasks.claims import Claim
from bgtasks.models import FileRequest

logger = logging.getLogger(__name__)


def publish(file_request: FileRequest) -> bool:
    """Publish the outstanding steps; False: the broker did not take them, and the sweep will try again.

    The row must be committed. A message too many does no harm: only one claim is granted.

    Raises: UnknownFileType.
    """
    links = registry.get(file_request.file_type).restore(file_request).canvas(file_request)
    if links is None:
        logger.warning("%r has no step that is left to do: has its type lost one?", Claim.of(file_request))
        return True
    try:
        links.apply_async()
    except OperationalError:
        logger.warning("%r: the broker does not take its next step; it is dispatched later", Claim.of(file_request))
        return False
    return True


def attempt(file_request: FileRequest) -> bool:
    """The same for a sweep: one request's fault, in its file type for example, must not keep the others waiting."""
    try:
        return publish(file_request)
    except Exception:
        logger.exception("%r can't be published", Claim.of(file_request))
        return True
