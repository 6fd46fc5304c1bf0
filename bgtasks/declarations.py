"""What a file type declares: its attributes, each with a ``get_…`` twin to override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from bgtasks import canvas, choices, deployment, formats, mails, queues, status_links
from bgtasks.asking import MOST_CRITERIA
from bgtasks.dividing import Dividing
from bgtasks.filenames import resuffixed, safe
from bgtasks.formats import Format
from bgtasks.items.columns import Declared
from bgtasks.locales import gettext
from bgtasks.models import FileRequest
from bgtasks.telling import Telling
from bgtasks.tokens import SignerLike


class Declarations(Telling, Dividing):
    """The attributes of a file type. ``FileType`` adds what is done with them."""

    #: The registered name: ``[a-z][a-z0-9_]*``.
    file_type: ClassVar[str] = ""
    #: What the file is, in words for its requester.
    file_description: str = ""
    #: The finished file's media type (default: its format's).
    content_type: str | None = None
    #: What the file can be written as: names or Format objects. The first is the default.
    formats: Sequence[str | Format] = ("csv",)
    #: The database that a select runs on (default: the record's own).
    source_url: str | None = None
    #: Where finished files are put: a folder, or ``s3://…``, ``gs://…``, ``az://…`` (default: ``bgtasks_store_url``).
    #: Each file stays where it is when this changes, and is found there.
    store_url: str | None = None
    #: Headings, for rows that bring no names along; or a mapping of the columns that the file has, in its order, from
    #: their names to their headings. A request may choose among the names of a mapping.
    columns: Declared = None
    #: The Celery queue of the steps (default: ``files.<file_type>``).
    queue: str | None = None
    #: The queue where a request goes on that has run out of memory: its workers have more of it (default: none; it is
    #: tried again where it was).
    heavy_queue: str | None = None
    #: The finished file's name (default: ``<file_type>`` with the format's suffix).
    filename: str | None = None
    #: The pydantic model of the criteria (default: the nested class ``Criteria``, or any JSON).
    criteria_class: type[BaseModel] | None = None
    #: The signer of download links (default: the deployment's).
    signer: SignerLike | None = None
    #: Whether a browser shall save the file, rather than show it.
    content_as_attachment: bool = True
    #: The jinja2 page that says that the file will be made.
    delayed_template_name: str = "delayed.html"
    #: More variables for that page.
    delayed_context_data: Mapping[str, Any] = {}
    #: The link, as a ``%(token)s`` text (default: ``<bgtasks_base_url>/files/<token>``).
    download_url: str | None = None
    #: A file with more rows is refused; None: the format's limit alone.
    max_rows: int | None = None
    #: The most requests that one requester may have going on at once; None: any number.
    max_active_per_requester: int | None = None
    #: The largest size of the criteria, in bytes of JSON; None: any.
    max_criteria_size: int | None = MOST_CRITERIA
    #: Whether a request answers for the same requester's next one with the same criteria (as they are validated),
    #: format, language and zone: while it goes on, and as long as its link works.
    coalesce: bool = False
    #: Seconds that a link works from when its requester is told; None: for ever (default: the signer's).
    max_age: float | None | Literal["default"] = "default"
    #: Seconds that the row of a request is kept after its end; None: for ever (default: ``bgtasks_retention``). A file
    #: is kept as long as its link works, whatever this says.
    retention: float | None | Literal["default"] = "default"
    #: Seconds that a step may take, before its worker is given up.
    time_limit: float | None = 6 * 3600
    #: More to say in the token, as JSON; anybody who has the link can read it.
    token_data: Any = None
    #: More options for each step's ``apply_async``.
    celery_kwargs: Mapping[str, Any] = {}
    #: More columns for a row that ``respond_to`` inserts.
    file_request_data: Mapping[str, Any] = {}
    #: Whether nobody but its requester may download the file.
    requester_only: bool = True
    #: The steps of the chain, in order; ``@bgtasks.step`` makes more.
    steps: ClassVar[Sequence[str]] = canvas.STEPS

    #: The row, in a step and after ``restore``; None in a web request that has no row yet.
    file_request: FileRequest | None = None
    #: The format that was asked for, by name; ``""``: the first one.
    format: str = ""
    #: The columns that were asked for, by name; none: all of them.
    chosen_columns: Sequence[str] = ()

    def get_file_type(self) -> str:
        """The registered name."""
        return self.file_type

    def get_file_description(self) -> str:
        """What the file is, in words for its requester and in their language, where a catalogue has them."""
        return gettext(self.file_description)

    def get_content_type(self) -> str:
        """The media type: the row's, the declared one, or the format's."""
        chosen = self.file_request.content_type if self.file_request else ""
        return chosen or self.own_content_type or self.get_format().content_type

    @property
    def own_content_type(self) -> str | None:
        """The declared media type, unless the file is compressed, which another type says."""
        return None if choices.is_compressed(self.get_format()) else self.content_type

    def get_formats(self) -> list[Format]:
        """Every format that a request may choose, the default first. Text may be asked for compressed as well."""
        return [formats.resolve(chosen) for chosen in self.formats]

    def get_format(self) -> Format:
        """The format of this file. Raises: UnknownFormat, if the type can't be made in the one asked for."""
        return choices.format_of(self.get_formats(), self.format)

    def get_source_url(self) -> str | None:
        """The database that a select runs on; None: the record's own."""
        return self.source_url

    def get_store_url(self) -> str | None:
        """Where the finished file is put; None: into the deployment's own store. ``clean`` asks without a request."""
        return self.store_url

    def get_columns(self) -> Declared:
        """Headings, for rows that bring no names along; or the file's columns, from their names to their headings."""
        return self.columns

    def get_chosen_columns(self) -> Sequence[str]:
        """The names of the columns of this file, in its order; none: all. Raises: InvalidCriteria."""
        return choices.columns_of(self.get_columns(), self.chosen_columns) if self.chosen_columns else ()

    def get_queue(self, criteria: Any = None, count: int | None = None) -> str:
        """The Celery queue of the steps. Asked before the first one, and again when the rows are counted.

        :param criteria: what was chosen, validated; None where there is nothing yet, or it is not valid.
        :param count: how many rows there are; None until they are counted.
        """
        return self.queue or queues.queue_of(self.file_type)

    def get_heavy_queue(self) -> str | None:
        """The queue where a request goes on that has run out of memory; None: where it was."""
        return self.heavy_queue

    def get_filename(self) -> str:
        """The finished file's name, safe on every system. The suffix of another of the type's formats is replaced."""
        suffix = self.get_format().suffix
        named = resuffixed(self.filename, suffix, choices.suffixes(self.get_formats())) if self.filename else None
        return safe(named or f"{self.file_type}{suffix}")

    def get_criteria_class(self) -> type[BaseModel] | None:
        """The pydantic model of the criteria; None: any JSON."""
        nested: type[BaseModel] | None = getattr(self, "Criteria", None)
        return self.criteria_class or nested

    def get_signer(self) -> SignerLike:
        """The signer of this type's download links."""
        if self.signer is not None:
            return self.signer
        parts, max_age = deployment.current(), self.get_max_age()
        return parts.default_signer if max_age == parts.default_signer.max_age else parts.signer(max_age)

    def get_max_age(self) -> float | None:
        """Seconds that a link works; None: for ever. Whoever overrides ``get_signer`` overrides this to match."""
        if self.max_age != "default":
            return self.max_age
        return (deployment.current().default_signer if self.signer is None else self.signer).max_age

    def get_retention(self) -> float | None:
        """Seconds that the row of a request is kept after its end; None: for ever. ``clean`` asks without a request."""
        return deployment.current().settings.retention if self.retention == "default" else self.retention

    def get_content_as_attachment(self) -> bool:
        """Whether a browser shall save the file."""
        return self.content_as_attachment

    def get_delayed_template_name(self) -> str:
        """The page that says that the file will be made."""
        return self.delayed_template_name

    def get_delayed_context_data(self, **context: Any) -> dict[str, Any]:
        """The variables of that page. It is called with ``file_request``, ``dataset`` and ``schedule``."""
        return {**context, **self.delayed_context_data}

    def get_download_url(self, file_request: FileRequest, token: str) -> str:
        """The link. Raises: ImproperlyConfigured, without a base URL."""
        return mails.download_url(self.download_url, file_request, token)

    def get_status_url(self, file_request: FileRequest) -> str:
        """The page that says how a request stands."""
        return status_links.path_of(file_request, deployment.current().settings.base_url or "")

    def get_max_rows(self) -> int | None:
        """The most rows that a file may have: the smaller of the type's and the format's limit."""
        limits = [limit for limit in (self.max_rows, self.get_format().max_rows) if limit is not None]
        return min(limits, default=None)

    def get_max_active_per_requester(self) -> int | None:
        """The most requests that one requester may have going on at once."""
        return self.max_active_per_requester

    def get_max_criteria_size(self) -> int | None:
        """The largest size of the criteria, in bytes of JSON."""
        return self.max_criteria_size

    def get_coalesce(self) -> bool:
        """Whether a request answers for the next one of the same."""
        return self.coalesce

    def get_time_limit(self) -> float | None:
        """Seconds that a step may take."""
        return self.time_limit

    def get_token_data(self, file_request: FileRequest) -> Any:
        """More to say in the token."""
        return self.token_data

    def get_celery_kwargs(self) -> dict[str, Any]:
        """More options for each step's ``apply_async``."""
        return dict(self.celery_kwargs)

    def is_requester_only(self) -> bool:
        """Whether nobody but its requester may download the file."""
        return self.requester_only
