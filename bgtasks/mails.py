"""What a requester is told, in the words that the file type declares."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from bgtasks import deployment, facts, templates, texts
from bgtasks.locales import N_, gettext, in_force
from bgtasks.models import FileRequest
from bgtasks.notifiers import Attachment, Message, Occasion

READY_SUBJECT = N_("Your file is ready: %(filename)s")
FAILED_SUBJECT = N_("Your file could not be made: %(description)s")
FAILED_TEXT = N_("""Hello,

the file that you asked for on %(requested_at)s could not be made: %(description)s

%(error_message)s
""")
CANCELLED_SUBJECT = N_("Your file will not be made: %(description)s")
CANCELLED_TEXT = N_("""Hello,

the file that you asked for on %(requested_at)s will not be made, since the request was cancelled: %(description)s
""")
EXPIRING_SUBJECT = N_("Your file will soon be removed: %(filename)s")


def ready(file_type: Any, file_request: FileRequest, token: str, recipient: str) -> Message:
    """The message that brings the link, or the file as well.

    :param token: of the link; ``""``: there is none, since nobody may have the file.
    """
    fields, link = _with_link(file_type, file_request, token)
    said = _said(file_type, file_request, Occasion.READY, file_type.get_email_subject(), fields)
    text = _text(file_type, file_request, fields)
    html = _html(file_type, file_request, fields)
    return replace(said, text=text, html=html, link=link, attachment=_attachment(file_type, file_request, recipient))


def failed(file_type: Any, file_request: FileRequest) -> Message:
    """The message that says why there is no file."""
    texts_of_it = file_type.email_failed_subject, file_type.email_failed_text_message
    return _without_file(file_type, file_request, Occasion.FAILED, *texts_of_it)


def cancelled(file_type: Any, file_request: FileRequest) -> Message:
    """The message that says that there will be no file, since the request was given up."""
    texts_of_it = file_type.email_cancelled_subject, file_type.email_cancelled_text_message
    return _without_file(file_type, file_request, Occasion.CANCELLED, *texts_of_it)


def expiring(file_type: Any, file_request: FileRequest, token: str) -> Message:
    """The message that brings the link once more, before the file is removed."""
    fields, link = _with_link(file_type, file_request, token)
    said = _said(file_type, file_request, Occasion.EXPIRING, file_type.email_expiring_subject, fields)
    context = _context(file_type, file_request, fields)
    text = templates.render_text(file_type.email_expiring_text_template_name, context)
    html_name = file_type.email_expiring_html_template_name
    return replace(said, text=text, html=templates.render(html_name, context) if html_name else None, link=link)


def _without_file(file_type: Any, file_request: FileRequest, event: Occasion, subject: str, text: str) -> Message:
    named = file_request.description or file_type.get_file_description() or file_request.file_type
    fields = texts.fields_of(file_request) | {"description": named}
    said = _said(file_type, file_request, event, subject, fields)
    return replace(said, text=texts.fill(gettext(text), fields))


def _with_link(file_type: Any, file_request: FileRequest, token: str) -> tuple[dict[str, str], str | None]:
    """The fields of a text that has a link, and the link. Raises: ImproperlyConfigured."""
    link = file_type.get_download_url(file_request, token) if token else None
    return texts.fields_of(file_request, token=token, download_url=link or ""), link


def _said(file_type: Any, file_request: FileRequest, event: Occasion, subject: str, fields: dict[str, str]) -> Message:
    """What each message has; its text is still to be written."""
    return Message(
        subject=texts.fill_header(gettext(subject), fields),
        text="",
        html=None,
        sender=sender(file_type),
        event=event,
        at=_moment(file_type, file_request, event),
        facts=facts.of(file_type, file_request),
    )


def _moment(file_type: Any, file_request: FileRequest, event: Occasion) -> datetime | None:
    """When it happened: the same on each try."""
    expires, before = file_request.expires_at, file_type.get_tell_expiry()
    if event == Occasion.EXPIRING and expires is not None and before is not None:
        return expires - timedelta(seconds=before)
    return file_request.finished_at


def _attachment(file_type: Any, file_request: FileRequest, recipient: str) -> Attachment | None:
    """The file, where it is small enough and this recipient may be sent it."""
    limit, key, size = file_type.get_email_attach_up_to(), file_request.object_key, file_request.size
    if limit is None or key is None or size is None or size > limit:
        return None
    may_have = file_type.may_download(file_request.requester, file_request)
    if not may_have or not file_type.may_attach(file_request, recipient):
        return None

    def read() -> bytes:
        contents = bytearray()
        # By its length on the row: whatever lies in the store by now, no more than that is read.
        for chunk in deployment.current().store_of(file_request).read(key, length=size):
            contents += chunk
        return bytes(contents)

    return Attachment(file_request.filename, file_request.content_type, read)


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
    """Who mails are from; ``""``: nobody has said, and no mail can be sent."""
    return texts.one_line(file_type.get_from_email() or deployment.current().settings.from_email or "")


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
