"""Pages and mails from jinja2 files: the deployment's own ``templates`` folder first, then ours."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined

from bgtasks import settings

#: Our pages load nothing from anywhere and are framed by nobody.
HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def render(name: str, context: Mapping[str, Any]) -> str:
    """A page: values are escaped."""
    return _environment(settings.current().root, True).get_template(name).render(context)


def render_text(name: str, context: Mapping[str, Any]) -> str:
    """A plain text: nothing is escaped."""
    return _environment(settings.current().root, False).get_template(name).render(context)


@functools.cache
def _environment(root: Path, escape: bool) -> Environment:
    # Values are escaped whatever a file is called: select_autoescape would trust the suffix.
    ours = PackageLoader("bgtasks", "wsgi/templates"), PackageLoader("bgtasks", "notifiers/templates")
    loader = ChoiceLoader([FileSystemLoader(root / "templates"), *ours])
    return Environment(loader=loader, autoescape=escape, undefined=StrictUndefined, trim_blocks=True)  # noqa: S701
