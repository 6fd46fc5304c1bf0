"""The texts of bgtasks, gathered for its catalogues.

``make messages`` brings all of them up to date; ``make messages ARGS=it`` begins one in another language.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from bgtasks import catalogues, errors
from bgtasks.errors import BgtasksError
from bgtasks.wsgi import refusals

LIBRARY = catalogues.SHIPPED.parent
TEMPLATE = catalogues.SHIPPED / f"{catalogues.DOMAIN}.pot"

#: Errors that no requester is ever told of.
UNTOLD = (errors.ImproperlyConfigured, errors.ClaimLost, errors.InvalidRequestId, errors.NotificationRefused)
#: Babel's headers that say nothing, or change each time.
UNSAID = tuple(f'"{name}' for name in ("POT-", "PO-", "Report-", "Last-", "Language-Team", "Generated-By"))

Message = tuple[str, str | tuple[str, ...]]


def told_errors() -> set[type[BgtasksError]]:
    """The errors whose sentences may reach a requester."""
    known = {thing for module in (errors, refusals) for thing in vars(module).values() if isinstance(thing, type)}
    return {kind for kind in known if issubclass(kind, BgtasksError) and not issubclass(kind, UNTOLD)}


def gathered() -> Catalog:
    """Every text of the library that a catalogue translates."""
    catalogue = Catalog(domain=catalogues.DOMAIN, project="celery-bgtasks", version="", fuzzy=False)
    for source, message in sorted((*_in_python(), *_in_templates(), *_in_docstrings()), key=str):
        catalogue.add(message, locations=[(source, 0)])
    return catalogue


def _in_python() -> Iterator[Message]:
    errors_by_name = (kind.__name__ for kind in told_errors())
    keywords = dict.fromkeys(("gettext", "_", "N_", "Sentence", *errors_by_name))
    for path in LIBRARY.rglob("*.py"):
        with path.open("rb") as file:
            for _, message, *_ in extract("python", file, {**keywords, "ngettext": (1, 2)}):
                yield _shown(path), message


def _in_templates() -> Iterator[Message]:
    keywords = {"gettext": None, "_": None, "ngettext": (1, 2)}
    options = {"trimmed": "true", "newstyle_gettext": "true", "silent": "false"}
    for path in LIBRARY.rglob("templates/*.*"):
        with path.open("rb") as file:
            for _, message, *_ in extract(babel_extract, file, keywords, (), options):
                yield _shown(path), message


def _in_docstrings() -> Iterator[Message]:
    for kind in told_errors():
        yield _shown(Path(sys.modules[kind.__module__].__file__ or "")), kind.default_message()


def _shown(path: Path) -> str:
    return str(path.relative_to(LIBRARY.parent))


def read(path: Path) -> Catalog:
    """A catalogue as it is in its file."""
    with path.open("rb") as file:
        return read_po(file, abort_invalid=True)


def shipped() -> dict[str, Path]:
    """The catalogues of the wheel, by language."""
    return {path.parent.parent.name: path for path in sorted(catalogues.SHIPPED.glob("*/LC_MESSAGES/*.po"))}


def update(language: str, template: Catalog) -> int:
    """Bring a language's catalogue up to date; how many of its texts have no translation yet."""
    path = catalogues.SHIPPED / language / "LC_MESSAGES" / f"{catalogues.DOMAIN}.po"
    catalogue = read(path) if path.exists() else Catalog(language, project="celery-bgtasks")
    catalogue.locale, catalogue.version, catalogue.fuzzy = language, "", False
    catalogue.update(template, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    _write(path, catalogue)
    return sum(not message.string or not all(message.string) for message in catalogue if message.id)


def _write(path: Path, catalogue: Catalog) -> None:
    """In an order and with a header that change only where the texts do."""
    written = io.BytesIO()
    catalogue.header_comment = f"# The texts of bgtasks: {catalogue.locale or 'a template for a new language'}."
    write_po(written, catalogue, width=100, include_lineno=False, sort_output=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = (line for line in written.getvalue().decode().splitlines(keepends=True) if not line.startswith(UNSAID))
    path.write_text("".join(kept), encoding="utf-8")


def main(new: list[str]) -> int:
    """The exit code: 1, while something is untranslated."""
    template = gathered()
    _write(TEMPLATE, template)
    untranslated = {language: update(language, template) for language in sorted({*shipped(), *new})}
    for language, number in untranslated.items():
        print(f"{language}: {len(template)} texts, {number} without a translation")
    return int(any(untranslated.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
