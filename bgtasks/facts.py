"""A request as programs are told of it: what webhooks carry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bgtasks import deployment
from bgtasks.models import FileRequest

#: The row's columns that are told as they are.
TOLD = (
    "id",
    "file_type",
    "format",
    "state",
    "filename",
    "content_type",
    "size",
    "sha256",
    "requester",
    "requested_at",
    "finished_at",
    "expires_at",
    "error_code",
    "error_message",
)


def of(file_type: Any, file_request: FileRequest) -> dict[str, Any]:
    """JSON data: times in UTC as ISO 8601 has them. No criteria, no address, and no right to the file.

    ``rows`` is None for a file whose rows were not counted; ``status_url`` for a deployment without a base URL.
    """
    has_url = bool(deployment.current().settings.base_url)
    return {
        **{name: _plain(getattr(file_request, name)) for name in TOLD},
        "rows": file_request.rows_written or file_request.rows_total,
        "status_url": file_type.get_status_url(file_request) if has_url else None,
    }


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
