"""Pages and mails from jinja2 files: ours, and those of the deployment's folder ``templates``.

``templates/bgtasks/status.html`` there replaces our ``status.html``, or extends it by the name ``bgtasks/status.html``.
A ``templates/base.html`` does not: it is the host application's, and of another engine perhaps.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgtasks import locales, settings

if TYPE_CHECKING:
    from jinja2 import Environment


def render(name: str, context: Mapping[str, Any]) -> str:
    """A page in the locale in force: values are escaped."""
    return _render(name, context, escape=True)


def render_text(name: str, context: Mapping[str, Any]) -> str:
    """A plain text in the locale in force: nothing is escaped."""
    return _render(name, context, escape=False)


def _render(name: str, context: Mapping[str, Any], *, escape: bool) -> str:
    template = _environment(settings.current().root, escape).get_template(name)
    locale = locales.current()
    return template.render({"lang": locale.spoken, "text_direction": locale.text_direction, **context})


@functools.cache
def _environment(root: Path, escape: bool) -> Environment:
    # Imported when something is shown: a worker's child that has told nobody anything yet is the smaller for it.
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, PrefixLoader, StrictUndefined

    # Values are escaped whatever a file is called: select_autoescape would trust the suffix.
    folders = "wsgi/templates", "notifiers/templates", "dev/templates"
    ours = ChoiceLoader([PackageLoader("bgtasks", folder) for folder in folders])
    replacing, others = FileSystemLoader(root / "templates" / "bgtasks"), FileSystemLoader(root / "templates")
    made = Environment(
        loader=ChoiceLoader([replacing, ours, PrefixLoader({"bgtasks": ours}), others]),
        autoescape=escape,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.policies["ext.i18n.trimmed"] = True  # a line break within a text is the template's, not the catalogues'
    # One environment for all languages: these look at the locale in force when they are called.
    made.install_gettext_callables(locales.gettext, locales.ngettext, newstyle=True)  # type: ignore[attr-defined]
    made.filters.update(number=locales.number, when=locales.when, size=locales.size, duration=locales.duration)
    # For what is no text of the template's own: _() would take it for markup, and a % in it for a format.
    made.filters["translated"] = locales.gettext
    return made
