"""A file type in a Django project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet
from django.forms import BaseForm
from django.utils import timezone, translation
from django.utils.datastructures import MultiValueDict
from werkzeug.wrappers import Request

from bgtasks import criteria, forms, identity, locales
from bgtasks.errors import WHOLE, InvalidCriteria, InvalidForm
from bgtasks.file_types import FileType
from bgtasks.locales import gettext
from bgtasks.models import FileRequest


class DjangoFileType(FileType):
    """Its criteria may come from a Django form, and its steps run in Django's language and time zone."""

    #: The form of the criteria: its ``cleaned_data``, as JSON, is what ``Criteria`` validates (default: no form).
    form_class: type[BaseForm] | None = None

    @contextmanager
    def in_locale(self, file_request: FileRequest) -> Iterator[None]:
        """The requester's language and zone, Django's too; and no database connection that went stale before."""
        zone = locales.known_zone(file_request.timezone)
        with super().in_locale(file_request), _in_djangos(file_request.language), timezone.override(zone):
            _close_stale_connections()
            try:
                yield
            finally:
                _close_stale_connections()

    def get_form(self, http_request: Request) -> BaseForm | None:
        """The bound form; None: the criteria come as they are. ``http_request.environ[DJANGO_REQUEST]`` is Django's."""
        return self.form_class(_data(http_request)) if self.form_class is not None else None

    def build_criteria(self, http_request: Request) -> Any:
        """What was chosen in the form. Raises: InvalidForm, whose ``form`` has the errors beside its fields."""
        form = self.get_form(http_request)
        if form is None:
            return super().build_criteria(http_request)
        if not form.is_valid():
            raise _invalid(form)
        model = self.get_criteria_class()
        try:
            return criteria.validate(model, _chosen(form, model), identity.requester(http_request.environ))
        except InvalidCriteria as refused:
            for name, messages in refused.fields.items():
                form.add_error(name if name in form.fields else None, messages)
            raise _invalid(form) from None


def _in_djangos(language: str | None) -> AbstractContextManager[Any]:
    return translation.override(language) if language else nullcontext()


def _close_stale_connections() -> None:
    """As Django does around each request; but a transaction that is open here, as in a test of Django's, goes on."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def _data(http_request: Request) -> Any:
    if not http_request.is_json:
        return MultiValueDict(dict(http_request.values.lists()))
    given = forms.chosen(http_request, None)
    if not isinstance(given, dict):
        raise InvalidCriteria({WHOLE: [gettext("This must be a JSON object.")]})
    return given


def _chosen(form: BaseForm, model: Any) -> dict[str, Any]:
    """The cleaned data. What was left blank takes the default that the criteria's model has."""
    cleaned = {name: _plain(value) for name, value in form.cleaned_data.items()}
    if model is None:
        return cleaned
    return {name: value for name, value in cleaned.items() if value not in form.fields[name].empty_values}


def _plain(value: Any) -> Any:
    """A row is known by its key."""
    if isinstance(value, QuerySet):
        return list(value.values_list("pk", flat=True))
    return value.pk if isinstance(value, Model) else value


def _invalid(form: BaseForm) -> InvalidForm:
    errors = {name: [str(message) for message in messages] for name, messages in form.errors.items()}
    return InvalidForm(form, {("" if name == "__all__" else name): found for name, found in errors.items()})
