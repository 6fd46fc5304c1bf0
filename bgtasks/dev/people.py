"""Who is asking: a stand-in for a real login, which takes any name.

The cookie is ``SameSite=Lax``: a form of another site is sent without it and therefore changes nothing here, while
the link in a mail finds its requester logged in.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from bgtasks import pages
from bgtasks.locales import gettext as _
from bgtasks.wsgi.refusals import FormIsStale

COOKIE = "bgtasks_dev_user"
#: What a mail address may have at most (RFC 5321, 4.5.3.1).
LONGEST = 254
#: A path of this site's own: a browser takes two slashes, or a backslash, for another site's address.
LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")
#: What a browser says of a form of this site's own; a program says nothing.
OWN = ("same-origin", "none")
SUGGESTED = "user@example.com"


def visitor(http_request: Request) -> str | None:
    """Who is logged in; None: nobody. Programs use HTTP Basic with any name."""
    authorization = http_request.authorization
    named = authorization.username if authorization and authorization.type == "basic" else None
    name = named or http_request.cookies.get(COOKIE, "")
    return None if _fault(name) else name


def local(path: str) -> str:
    """A path of this site as it is, and this site's first page instead of anything else."""
    return path if LOCAL.fullmatch(path) else "/"


def require_own_form(http_request: Request) -> None:
    """See that no other site has sent a form, as far as the browser says: it could log its visitor in. (Fetch Metadata)

    Raises: FormIsStale.
    """
    if http_request.method == "POST" and http_request.headers.get("Sec-Fetch-Site", "none") not in OWN:
        raise FormIsStale


def to_login(back: str) -> Response:
    """To the login, and back to a path afterwards."""
    return redirect(f"/login?{urlencode({'next': back})}", 303, Response)


def login(http_request: Request) -> Response:
    """The form that asks for a name, and what becomes of it."""
    back = local(http_request.values.get("next", "/"))
    name = http_request.form.get("name", "").strip()
    fault = _fault(name) if http_request.method == "POST" else ""
    if http_request.method == "POST" and not fault:
        answer = redirect(back, 303, Response)
        answer.set_cookie(COOKIE, name, httponly=True, samesite="Lax")
        return answer
    context = {"back": back, "name": name or visitor(http_request) or SUGGESTED, "fault": fault}
    return pages.page("site_login.html", context, 400 if fault else 200)


def logout(_http_request: Request) -> Response:
    """Nobody is logged in any more."""
    answer = redirect("/", 303, Response)
    answer.delete_cookie(COOKIE, httponly=True, samesite="Lax")
    return answer


def _fault(name: str) -> str:
    if not name:
        return _("Please give a name.")
    if len(name) > LONGEST or not name.isprintable():
        return _("A name has at most 254 characters, all of them visible.")
    return ""
