"""How long the rows of ended requests are kept."""

from __future__ import annotations

import logging

from bgtasks import deployment, registry
from bgtasks.errors import UnknownFileType

logger = logging.getLogger(__name__)


def retention_of(file_type: str) -> float | None:
    """Seconds that a type's rows are kept after their end; None: for ever.

    :param file_type: its name; where this process knows no such type, the setting holds.
    """
    try:
        found: float | None = registry.get(file_type)().get_retention()
        return found
    except UnknownFileType:
        return deployment.current().settings.retention
    except Exception:  # a user's own method; what is kept for too long can still go later
        logger.exception("how long the rows of %s are kept is not known", file_type)
        return None
