"""Every error that bgtasks raises, below one root.

The docstring of a class is its default message, and for an error that ends a request it is also
the sentence that the requester is told: it must reveal nothing about the system.
"""

from __future__ import annotations

from typing import Any


class BgtasksError(Exception):
    """Something went wrong while the file was made."""

    #: The stable, machine-readable name that stands in a failed row's ``error_code``.
    error_code: str = "internal_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.default_message())

    @classmethod
    def default_message(cls) -> str:
        """The first line of the class's docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


class ImproperlyConfigured(BgtasksError):
    """A setting, a file type or the installation is not usable as it is."""

    error_code = "improperly_configured"


class InvalidRequestId(BgtasksError):
    """A request's id must be a UUID: it is the task id of request_file."""

    error_code = "invalid_request_id"


class UnknownFileType(BgtasksError):
    """There is no such type of file."""

    error_code = "unknown_file_type"


class UnknownFormat(BgtasksError):
    """This type of file can't be made in that format."""

    error_code = "unknown_format"


class InvalidCriteria(BgtasksError):
    """The criteria are not valid."""

    error_code = "invalid_criteria"

    def __init__(self, fields: dict[str, list[str]], message: str | None = None) -> None:
        self.fields = fields  #: what is wrong, by field; ``""`` holds what concerns the whole
        super().__init__(message or self._sentence(fields))

    @classmethod
    def _sentence(cls, fields: dict[str, list[str]]) -> str:
        faults = [f"{name}: {'; '.join(found)}" if name else "; ".join(found) for name, found in fields.items()]
        return f"{cls.default_message().rstrip('.')} ({', '.join(faults)})." if faults else cls.default_message()


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
        super().__init__(message or f"There are more rows than this file may have ({limit:,}). Please narrow it down.")


class TooManyActive(BgtasksError):
    """So many of these files are being made for you that there is no room for one more."""

    error_code = "too_many_active"

    def __init__(self, limit: int, retry_after: int) -> None:
        self.limit = limit  #: how many requests may go on at once
        self.retry_after = retry_after  #: seconds until it is worth asking again
        wait = f"{retry_after} seconds" if retry_after < 100 else f"{round(retry_after / 60)} minutes"
        self._sentence = f"No more than {limit} of these files can be made for you at once. Please ask again in {wait}."
        super().__init__(self._sentence)
        # As above all in RequestFailed: a process that is handed an exception calls the class with its args.
        self.args = (limit, retry_after)

    def __str__(self) -> str:
        return self._sentence


class UnwritableValue(BgtasksError):
    """A value can't be written in this format."""

    error_code = "unwritable_value"

    def __init__(self, message: str, *, row: int | None = None, column: str | int | None = None) -> None:
        self.row = row  #: the row, counted from 1 below the headings
        self.column = column  #: the column's name, or its number from 1 where it has none
        where = "" if row is None else f" (row {row:,}, column {column})"
        super().__init__(f"{message}{where}.")


class ObjectMissing(BgtasksError):
    """The finished file is not in the store any more."""

    error_code = "object_missing"


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


class StoreFull(TransientError):
    """There is no room for the file just now."""

    error_code = "store_full"


class NotificationRefused(BgtasksError):
    """The notification can't be delivered, and trying again would not help."""

    error_code = "notify_failed"


class BadToken(BgtasksError):
    """This link is not valid."""

    error_code = "bad_token"


class ExpiredToken(BadToken):
    """This link has expired."""

    error_code = "expired_token"


class RevokedToken(ExpiredToken):
    """This link has been withdrawn."""

    error_code = "revoked_token"
