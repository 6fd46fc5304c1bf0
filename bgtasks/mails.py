"""What a requester is told, in the words that the file type declares."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from bgtasks import deployment, templates, texts
from bgtasks.locales import N_, gettext, in_force
from bgtasks.models import FileRequest
from bgtasks.notifiers import Message

READY_SUBJECT = N_("Your file is ready: %(filename)s")
FAILED_SUBJECT = N_("Your file could not be made: %(description)s")
FAILED_TEXT = N_("""Hello,

the file that you asked for on %(requested_at)s could not be made: %(description)s

%(error_message)s
""")


def ready(file_type: Any, file_request: FileRequest, token: str) -> Message:
    """The message that brings the link."""
    url = file_type.get_download_url(file_request, token)
    fields = texts.fields_of(file_request, token=token, download_url=url)
    return Message(
        subject=texts.fill_header(gettext(file_type.get_email_subject()), fields),
        text=_text(file_type, file_request, fields),
        html=_html(file_type, file_request, fields),
        sender=sender(file_type),
    )


def failed(file_type: Any, file_request: FileRequest) -> Message:
    """The message that says why there is no file."""
    named = file_request.description or file_type.get_file_description() or file_request.file_type
    fields = texts.fields_of(file_request) | {"description": named}
    return Message(
        subject=texts.fill_header(gettext(file_type.email_failed_subject), fields),
        text=texts.fill(gettext(file_type.email_failed_text_message), fields),
        html=None,
        sender=sender(file_type),
    )


def download_url(template: str | None, file_request: FileRequest, token: str) -> str:
    """The link: the file type's own form of it, or ours. Raises: ImproperlyConfigured."""
    settings = deployment.current().settings
    if template:
        with in_force(None, None):  # an address is the same in every language
            fields = texts.fields_of(file_request, token=token)
        quoted = {name: quote(text, safe="") for name, text in fields.items()}
        return texts.fill(template, {**quoted, "base_url": settings.base_url or ""})
    return f"{settings.required('base_url')}/files/{token}"


def sender(file_type: Any) -> str:
    """Who mails are from. Raises: ImproperlyConfigured."""
    return texts.one_line(file_type.get_from_email() or deployment.current().settings.required("from_email"))


def _text(file_type: Any, file_request: FileRequest, fields: dict[str, str]) -> str:
    text, template_name = file_type.get_email_text_message(), file_type.email_text_template_name
    if text is None and template_name:
        return templates.render_text(template_name, _context(file_type, file_request, fields))
    return texts.fill(gettext(text), fields) if text else ""


def _html(file_type: Any, file_request: FileRequest, fields: dict[str, str]) -> str | None:
    html, template_name = file_type.get_email_html_message(), file_type.email_html_template_name
    if html is None and template_name:
        return templates.render(template_name, _context(file_type, file_request, fields))
    return None if html is None else texts.fill_html(gettext(html), fields)


def _context(file_type: Any, file_request: FileRequest, fields: dict[str, str]) -> dict[str, Any]:
    is_table = file_request.rows_written or file_request.rows_total == 0
    return {
        **fields,
        "requester_only": file_type.is_requester_only(),
        "rows": file_request.rows_written if is_table else None,
    }
