"""``/metrics``: how the deployment does, for Prometheus. It is open to whoever reaches it, where it is on."""

from __future__ import annotations

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from bgtasks import metrics, pages, settings


def show(http_request: Request) -> Response:
    """The numbers of this web process and of the record. Raises: NotFound, unless ``bgtasks_metrics`` is on."""
    if not settings.current().metrics:
        raise NotFound
    page, content_type = metrics.answer(http_request.headers.get("Accept", ""))
    return Response(page, content_type=content_type, headers=pages.HEADERS)
