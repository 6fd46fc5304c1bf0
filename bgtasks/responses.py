"""What a file type answers to an HTTP request: the file at once, or that it will be made."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

from bgtasks import identity, pages, serving, streams
from bgtasks.criteria import dump
from bgtasks.models import FileRequest

#: Seconds after which it is worth asking how a request stands.
RETRY_AFTER = 2


def request_data(file_type: Any, http_request: Request, dataset: Any) -> dict[str, Any]:
    """The arguments of ``toolbox.add_request`` for a file that must wait."""
    return {
        "criteria": dump(dataset.criteria),
        "file_type": file_type.get_file_type(),
        "requester": identity.requester(http_request.environ),
        "requester_email": http_request.environ.get(identity.EMAIL),
        "language": file_type.language,
        "tz": file_type.timezone,
        "content_type": file_type.own_content_type or "",
        "description": file_type.get_file_description(),
        "format": file_type.get_format().name,
        "columns": file_type.chosen_columns,
        "filename": file_type.filename,
    }


def file(file_type: Any, dataset: Any, http_request: Request) -> Response:
    """The file itself, written while it is sent.

    In HTTP/1.0, which nginx speaks by default too, a body without a length ends where the connection does, so that the
    half of a file looks whole: there it is written first, on the disk, and has a length.
    """
    chunks = streams.written_by(lambda buffer: file_type.write_bytes(dataset, buffer))
    headers = dict(serving.HEADERS)
    if http_request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        spooled, size = streams.spooled(chunks)
        chunks, headers["Content-Length"] = FileWrapper(spooled, streams.CHUNK), str(size)
    response = Response(chunks, headers=headers, direct_passthrough=True)
    response.content_type = file_type.get_content_type()
    attachment = file_type.get_content_as_attachment()
    response.headers["Content-Disposition"] = serving.disposition(file_type.get_filename(), attachment)
    return response


def delayed(http_request: Request, file_request: FileRequest, template_name: str, context: dict[str, Any]) -> Response:
    """That the file will be made: a page, or JSON for a client that prefers it; and where to see how it stands."""
    where = context["status_url"]
    if pages.prefers_json(http_request):
        response = pages.as_json({"id": file_request.id, "state": file_request.state, "status_url": where}, 202)
    else:
        response = pages.page(template_name, context, 202)
    response.headers["Location"] = where
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response
