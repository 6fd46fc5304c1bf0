"""The pages on which a person asks for files: a form for each registered file type."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from werkzeug.datastructures import MultiDict
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from bgtasks import identity, pages, registry
from bgtasks.dev import people
from bgtasks.dev.forms import form
from bgtasks.errors import BgtasksError, InvalidCriteria
from bgtasks.wsgi.problems import problem


def home(_http_request: Request) -> Response:
    """The forms of all file types."""
    types = [registry.get(name) for name in registry.names()]
    forms = [form(known()) for known in dict.fromkeys(types)]  # one that has been renamed has two names
    return pages.page("site_home.html", {"forms": forms})


def ask(http_request: Request, name: str) -> Response:
    """One file type's form; and, when it is sent: the file at once, the way to its status page, or what is wrong.

    A query fills the form, so that what was chosen can be bookmarked. Raises: UnknownFileType.
    """
    file_type = registry.get(name)()
    if http_request.method != "POST":
        return pages.page("site_form.html", {"form": form(file_type, http_request.args), "refusal": ""})
    if identity.requester(http_request.environ) is None and not pages.prefers_json(http_request):
        return people.to_login(f"/ask/{name}?{urlencode(list(http_request.form.items(multi=True)))}")
    try:
        delayed, response = file_type.respond_to(http_request)
    except BgtasksError as error:
        return _refused(http_request, file_type, error)
    return _followed(response) if delayed and not pages.prefers_json(http_request) else response


def _followed(response: Response) -> Response:
    """A browser goes nowhere on a 202: it is sent to the status page, on the host where it is."""
    where = urlsplit(response.headers["Location"])
    return redirect(where._replace(scheme="", netloc="").geturl(), 303, Response)


def _refused(http_request: Request, file_type: Any, error: BgtasksError) -> Response:
    """For a program what any view of a host application would answer, and for a person the form again."""
    answer = problem(http_request, error)
    if pages.prefers_json(http_request):
        return answer
    faults = error.fields if isinstance(error, InvalidCriteria) else {}
    refusal = "" if isinstance(error, InvalidCriteria) else error.told()
    context = {"form": form(file_type, MultiDict(http_request.form), faults), "refusal": refusal}
    return pages.page("site_form.html", context, answer.status_code)
