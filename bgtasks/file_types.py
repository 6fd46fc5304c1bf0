"""``FileType``: what an application subclasses, once for each kind of file that it offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO, Self

from sqlalchemy.orm import Session
from werkzeug.wrappers import Request, Response

from bgtasks import (
    canvas,
    checks,
    criteria,
    execution,
    forms,
    identity,
    locales,
    publishing,
    responses,
    routes,
    toolbox,
)
from bgtasks.after_commit import publish_after_commit
from bgtasks.asking import ask
from bgtasks.columns import columns_of
from bgtasks.declarations import Declarations
from bgtasks.errors import NotPermitted, TooManyRows
from bgtasks.items import Items
from bgtasks.models import FileRequest
from bgtasks.texts import zone_of


@dataclass
class Dataset:
    """What a file is made from."""

    criteria: Any  #: what was chosen, validated; ``criteria.requester`` is who asks
    items: Items  #: what that selects
    delay: bool = True  #: make the file in the background; False: within this HTTP request

    def count(self) -> int | None:
        """How many rows there are now; None where only reading them all would tell."""
        return self.items.count()


class FileType(Declarations):
    """One kind of file: subclass it, set ``file_type``, write ``get_items``, and register it."""

    #: In an HTTP request: the caller's session, within whose transaction the row is inserted.
    session: Session | None = None
    #: In an HTTP request: the requester's language and time zone, which the row keeps.
    language: str | None = None
    timezone: str | None = None

    def __init__(self, filename: str | None = None) -> None:
        self.filename = filename or type(self).filename

    # -- what to write --------------------------------------------------------------------------

    def get_items(self, criteria: Any) -> Any:
        """What the file consists of, lazily: a SQLAlchemy select, or an iterable of rows or mappings."""
        raise NotImplementedError

    def evaluate_dataset(self, dataset: Dataset, http_request: Any) -> None:
        """Set ``dataset.delay``. Only asked in an HTTP request; by default every file is made in the background."""

    def may_request(self, requester: str | None, criteria: Any) -> bool:
        """Whether somebody may have such a file. Asked in an HTTP request, and again when a worker begins."""
        return True

    def may_download(self, requester: str | None, file_request: FileRequest) -> bool:
        """Whether somebody who holds a good link may have the file now. Asked at each download and on its pages.

        :param requester: of a file that is for its requester only, that one; of any other, whoever downloads, if known.
        """
        return True

    def write_bytes(self, dataset: Dataset, buffer: BinaryIO) -> None:
        """Write the file. Override it to write something else than a format can.

        :param buffer: a binary file that streams to the store, or into the response; it can't seek.
        """
        self.get_format().write(dataset.items, buffer, zone_of(self.file_request))

    # -- from the row ---------------------------------------------------------------------------

    @classmethod
    def restore(cls, file_request: FileRequest) -> Self:
        """The file type of a row, as it was asked for."""
        restored = cls(filename=file_request.filename or None)
        restored.file_request = file_request
        restored.format = file_request.format
        restored.chosen_columns = tuple(file_request.columns or ())
        return restored

    def restore_criteria(self, file_request: FileRequest) -> Any:
        """What was chosen, validated again. Raises: InvalidCriteria."""
        return criteria.validate(self.get_criteria_class(), file_request.criteria, file_request.requester)

    def restore_dataset(self, file_request: FileRequest) -> Dataset:
        """The criteria of a row, and what they select. Raises: InvalidCriteria."""
        return self._dataset(self.restore_criteria(file_request))

    def check_request(self, file_request: FileRequest) -> None:
        """See that a row can be worked on. Raises: InvalidCriteria, UnknownFormat, NotPermitted."""
        self.get_format()
        self.get_chosen_columns()
        self._permit(file_request.requester, self.restore_criteria(file_request))

    def _permit(self, requester: str | None, chosen: Any) -> None:
        if not self.may_request(requester, chosen):
            raise NotPermitted

    def check_rows(self, rows: int) -> None:
        """Raises: TooManyRows, if so many rows are more than this file may have."""
        limit = self.get_max_rows()
        if limit is not None and rows > limit:
            raise TooManyRows(limit)

    def _dataset(self, restored: Any) -> Dataset:
        source, columns = self.get_items(restored), self.get_columns()
        return Dataset(restored, Items(source, self.get_source_url(), columns, self.get_chosen_columns()))

    # -- in the background ----------------------------------------------------------------------

    def canvas(self, file_request: FileRequest) -> Any:
        """The Celery chain of the row's outstanding steps; None where nothing is left to do."""
        options, limit = self.get_celery_kwargs(), self.get_time_limit()
        return canvas.build(file_request, self.steps, routes.of(self, file_request), options, time_limit=limit)

    @classmethod
    def handle(cls, file_request: FileRequest) -> bool:
        """Do all outstanding steps of a row here and now. False: others do, or there is nothing to do."""
        return cls.restore(file_request).create_file(file_request)

    def create_file(self, file_request: FileRequest) -> bool:
        """Do all outstanding steps in this process, without a broker, under the same claims as the chain.

        False: somebody else does them, or there is nothing to do. Raises: RequestFailed, once that is told.
        """
        return execution.run_outstanding(file_request)

    def create_token(self, file_request: FileRequest) -> str:
        """The token of the link that the requester is sent. Raises: RuntimeError, for a type with requesters only."""
        make = toolbox.create_token if self.is_requester_only() else toolbox.create_general_token
        return make(file_request, self.get_token_data(file_request), self.get_signer())

    # -- within an HTTP request -----------------------------------------------------------------

    def respond_to(
        self,
        http_request: Request,
        *,
        session: Session | None = None,
        language: str | None = None,
        tz: str | None = None,
    ) -> tuple[bool, Response]:
        """``(delayed, response)``: the file itself, or the page that says that it will be made.

        :param http_request: Werkzeug's, such as Flask's; who asks is what ``bgtasks_identify`` says of it.
        :param session: store the request of a delayed file within this session's transaction, and publish after it.
        :param language: the requester's (default: what the browser asks for).
        :param tz: the requester's time zone (default: what a field or a cookie ``tz`` says).
        Raises: InvalidCriteria, UnknownFormat, NotPermitted, TooManyRows, TooManyActive, for the view to show.
        """
        self.session = session
        self.language = language or self.get_language(http_request)
        self.timezone = tz or self.get_timezone(http_request)
        with locales.in_force(self.language, self.timezone):
            dataset = self.build_dataset(http_request)
            if dataset.delay:
                return True, self.respond_with_delay(http_request, dataset)
            return False, self.respond_with_file(http_request, dataset)

    def get_language(self, http_request: Request) -> str | None:
        """The requester's language, by a request of theirs: the best that there are texts in; None: they name none."""
        return locales.negotiate(http_request) if http_request.accept_languages else None

    def get_timezone(self, http_request: Request) -> str | None:
        """The requester's time zone, by a request of theirs; None: not known."""
        return forms.zone(http_request, self.get_criteria_class())

    def build_criteria(self, http_request: Request) -> Any:
        """What was chosen in a form, a query string or a JSON body. Raises: InvalidCriteria."""
        model = self.get_criteria_class()
        asker = identity.requester(http_request.environ)
        return criteria.validate(model, forms.chosen(http_request, model), asker)

    def build_dataset(self, http_request: Request) -> Dataset:
        """What was chosen, what that selects, and whether it must wait. Raises: InvalidCriteria, NotPermitted."""
        model = self.get_criteria_class()
        self.format = forms.chosen_format(http_request, model)
        self.chosen_columns = forms.chosen_columns(http_request, model)
        self.get_format()
        self.get_chosen_columns()
        chosen = self.build_criteria(http_request)
        self._permit(identity.requester(http_request.environ), chosen)
        dataset = self._dataset(chosen)
        self.evaluate_dataset(dataset, http_request)
        return dataset

    def respond_with_file(self, http_request: Request, dataset: Dataset) -> Response:
        """Write the file into the response, as it is sent. Raises: TooManyRows."""
        self.check_rows(dataset.count() or 0)
        dataset.items.watch = self.check_rows  # where they could not be counted, or have become more
        return responses.file(self, dataset, http_request)

    def get_file_request_data(self, http_request: Request, dataset: Dataset) -> dict[str, Any]:
        """The arguments of ``toolbox.add_request`` for a file that must wait."""
        return {**responses.request_data(self, http_request, dataset), **self.file_request_data}

    def respond_with_delay(self, http_request: Request, dataset: Dataset) -> Response:
        """Store a request, schedule it, and say so; or name the one that answers for it, with ``schedule`` None."""
        asked = columns_of(**self.get_file_request_data(http_request, dataset))
        file_request = ask(asked, scheduled=True, session=self.session)
        is_new = file_request.id == asked["id"]
        scheduled = self.schedule(file_request, http_request, dataset) if is_new else None
        return self.create_delayed_response(file_request, http_request, dataset, scheduled)

    def schedule(self, file_request: FileRequest, http_request: Request, dataset: Dataset) -> Any:
        """Have the request handled by the workers; its return value goes to ``create_delayed_response``."""
        if self.session is not None:
            return publish_after_commit(self.session, file_request.id)
        return publishing.publish(file_request)

    def create_delayed_response(
        self, file_request: FileRequest, http_request: Request, dataset: Dataset, schedule: Any
    ) -> Response:
        """The answer (202) to whoever asked for a file that must wait: a page, or JSON for a program."""
        shown = self.get_delayed_context_data(file_request=file_request, dataset=dataset, schedule=schedule)
        context = {"status_url": self.get_status_url(file_request), **shown}
        return responses.delayed(http_request, file_request, self.get_delayed_template_name(), context)

    # -- at register ----------------------------------------------------------------------------

    @classmethod
    def check(cls) -> None:
        """See that the type can work. Raises: ImproperlyConfigured."""
        checks.check(cls, FileType)
