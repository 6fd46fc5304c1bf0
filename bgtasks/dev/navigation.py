"""What stands above every page of the site, the library's own ones too: where to go, and who is asking."""

from __future__ import annotations

import os

from werkzeug.wrappers import Request, Response

from bgtasks import identity, templates

#: The environment variable that has Flower's address.
FLOWER = "DEV_FLOWER"


def added(http_request: Request, answer: Response) -> Response:
    """The same answer, with the navigation if it is a page of ours: no file, and no mail."""
    if not _is_page(answer):
        return answer
    context = {
        "visitor": identity.requester(http_request.environ),
        "here": http_request.path,
        "flower": os.environ.get(FLOWER, ""),
    }
    page = answer.get_data(as_text=True)
    for before, template in (("</head>", "site_head.html"), ("<main", "site_navigation.html")):
        page = page.replace(before, templates.render(template, context) + before, 1)
    answer.set_data(page)
    return answer


def _is_page(answer: Response) -> bool:
    is_elses = "sandbox" in answer.headers.get("Content-Security-Policy", "")  # a mail, or somebody's file
    return answer.mimetype == "text/html" and not is_elses
