"""Every error that bgtasks raises, below one root.

The docstring of a class is its default message, and for an error that ends a request it is also
the sentence that the requester is told: it must reveal nothing about the system. ``str()`` of an
error is English, for logs; ``told()`` says the same in the language in force.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bgtasks import locales
from bgtasks.locales import N_
from bgtasks.locales import Sentence as Sentence  # noqa: PLC0414 - it is what errors say, for importers of this module


class BgtasksError(Exception):
    """Something went wrong while the file was made."""

    #: The stable, machine-readable name that stands in a failed row's ``error_code``.
    error_code: str = "internal_error"

    def __init__(self, message: str | Sentence | None = None) -> None:
        message = message or self.default_message()
        super().__init__(str(message))
        self._sentence = message if isinstance(message, Sentence) else Sentence(message)

    @classmethod
    def default_message(cls) -> str:
        """The first line of the class's docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]

    @property
    def sentence(self) -> Sentence:
        """What it says, to be told in any language."""
        return getattr(self, "_sentence", None) or Sentence(str(self))

    def told(self) -> str:
        """What it says, in the language in force."""
        return locales.told(self)


class ImproperlyConfigured(BgtasksError):
    """A setting, a file type or the installation is not usable as it is."""

    error_code = "improperly_configured"


class OutdatedTables(ImproperlyConfigured):
    """The tables of bgtasks are missing or outdated: run celery bgtasks migrate."""


class InvalidRequestId(BgtasksError):
    """A request's id must be a UUID: it is the task id of request_file."""

    error_code = "invalid_request_id"


class UnknownFileType(BgtasksError):
    """There is no such type of file."""

    error_code = "unknown_file_type"


class UnknownFormat(BgtasksError):
    """This type of file can't be made in that format."""

    error_code = "unknown_format"


def _ended(text: Any) -> str:
    text = str(text)  # a form library's may be lazy
    return text if text.endswith((".", "!", "?", "…", "。")) else f"{text}."


#: Where a field's name would stand, for what is wrong with the whole.
WHOLE = ""


class InvalidCriteria(BgtasksError):
    """The criteria are not valid."""

    error_code = "invalid_criteria"

    def __init__(self, fields: dict[str, list[str]], message: str | None = None) -> None:
        self.fields = fields  #: what is wrong, by field; ``""`` (``WHOLE``) holds what concerns the whole
        super().__init__(message or self._sum(fields))

    @classmethod
    def _sum(cls, fields: dict[str, list[str]]) -> Sentence:
        """Both in one: the faults are in the requester's language already."""
        what = Sentence(cls.default_message())
        faults = [f"{name}: {said}" if name else said for name, found in fields.items() for said in map(_ended, found)]
        return Sentence("%(what)s %(faults)s", {"what": what, "faults": " ".join(faults)}) if faults else what


class InvalidForm(InvalidCriteria):
    """The form is not valid."""

    def __init__(self, form: Any, fields: dict[str, list[str]] | None = None, message: str | None = None) -> None:
        self.form = form  #: the form library's own bound form, for the view to show again
        super().__init__(fields if fields is not None else getattr(form, "errors", None) or {}, message)


class TooManyRows(BgtasksError):
    """There are more rows than this file may have."""

    error_code = "too_many_rows"

    def __init__(self, limit: int, message: str | None = None) -> None:
        self.limit = limit  #: the largest number of rows that would have been accepted
        said = Sentence(
            "There are more rows than this file may have (%(limit)s). Please narrow it down.", {"limit": limit}
        )
        super().__init__(message or said)


class NotPermitted(BgtasksError):
    """You may not have this file."""

    error_code = "not_permitted"


class TooManyActive(BgtasksError):
    """So many of these files are being made for you that there is no room for one more."""

    error_code = "too_many_active"

    def __init__(self, limit: int, retry_after: int) -> None:
        self.limit = limit  #: how many requests may go on at once
        self.retry_after = retry_after  #: seconds until it is worth asking again
        said = Sentence(
            "No more than %(limit)s of these files can be made for you at once. Please ask again %(wait)s.",
            {"limit": limit, "wait": timedelta(seconds=retry_after)},
        )
        super().__init__(said)
        # As above all in RequestFailed: a process that is handed an exception calls the class with its args.
        self.args = (limit, retry_after)

    def __str__(self) -> str:
        return str(self._sentence)


class UnwritableValue(BgtasksError):
    """A value can't be written in this format."""

    error_code = "unwritable_value"

    def __init__(
        self,
        fault: str | Sentence,
        *,
        row: int | None = None,
        column: str | int | None = None,
        member: str | None = None,
    ) -> None:
        self.fault = fault if isinstance(fault, Sentence) else Sentence(fault)  #: what is wrong with it
        self.row = row  #: the row, counted from 1 below the headings
        self.column = column  #: the column's name, or its number from 1 where it has none
        self.member = member  #: the file's name in an archive
        where = {"fault": self.fault, "row": row, "column": str(column), "member": member}
        super().__init__(Sentence(_WHERE[row is not None, member is not None], where))


#: How it is said where a value is, by whether its row is known, and whether it is in a file of an archive.
_WHERE = {
    (False, False): N_("%(fault)s."),
    (False, True): N_("%(fault)s (%(member)s)."),
    (True, False): N_("%(fault)s (row %(row)s, column %(column)s)."),
    (True, True): N_("%(fault)s (%(member)s, row %(row)s, column %(column)s)."),
}


class ObjectMissing(BgtasksError):
    """The finished file is not in the store any more."""

    error_code = "object_missing"


class RangeNotSatisfiable(BgtasksError):
    """The file has no such part."""

    error_code = "range_not_satisfiable"

    def __init__(self, size: int, message: str | None = None) -> None:
        self.size = size  #: of the whole file, in bytes
        super().__init__(message)


class PreconditionFailed(BgtasksError):
    """The file is not the one that was asked for."""

    error_code = "precondition_failed"


class RequestNotFound(BgtasksError):
    """There is no such file, or not any more."""

    error_code = "not_found"


class ClaimLost(BgtasksError):
    """Somebody else has taken this request over, or it has ended."""

    error_code = "claim_lost"

    def __init__(self, request_id: str, message: str | None = None) -> None:
        self.request_id = request_id
        super().__init__(message)


class Interrupted(ClaimLost):
    """This step was left before its end: somebody else shall go on with it at once."""


class TimeLimitPassed(BgtasksError):
    """It took longer than this file may take. Please narrow it down."""

    error_code = "time_limit"


class RequestFailed(BgtasksError):
    """The file could not be made."""

    error_code = "failed"

    def __init__(
        self, message: str | None = None, request_id: str | None = None, error_code: str | None = None
    ) -> None:
        self.request_id = request_id
        self.error_code = error_code or type(self).error_code  #: the failed row's ``error_code``
        super().__init__(message)
        # A result backend stores an exception's args and calls the class with them again.
        self.args = (str(self), request_id, error_code)

    def __str__(self) -> str:
        return str(self.args[0])


class TransientError(BgtasksError):
    """A service does not answer just now; trying again later may work."""

    error_code = "service_unavailable"
    #: Seconds before which the service does not want to be asked again.
    retry_after: float | None = None

    def __init__(self, message: str | Sentence | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreFull(TransientError):
    """There is no room for the file just now."""

    error_code = "store_full"


class NotificationRefused(BgtasksError):
    """The notification can't be delivered, and trying again would not help."""

    error_code = "notify_failed"
    #: A short code for the ledger, such as ``550``: no text that may hold an address.
    reason: str = "refused"

    def __init__(self, message: str | None = None, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


class BadToken(BgtasksError):
    """This link is not valid."""

    error_code = "bad_token"


class ExpiredToken(BadToken):
    """This link has expired."""

    error_code = "expired_token"


class RevokedToken(ExpiredToken):
    """This link has been withdrawn."""

    error_code = "revoked_token"
