"""Gettext catalogues: the deployment's own ``locale`` folder first, then ours, read as they are, with no build step."""

from __future__ import annotations

import functools
import io
import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po

#: The gettext domain: the name of the files in ``<language>/LC_MESSAGES``.
DOMAIN = "bgtasks"
#: The language that the texts are written in.
ENGLISH = "en"
#: The catalogues that we ship.
SHIPPED = Path(__file__).parent / "locale"

#: What a language tag looks like (RFC 5646), with POSIX's underscore too.
_TAG = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,5}")
_PLACEHOLDER = re.compile(r"%\((\w+)\)")

logger = logging.getLogger(__name__)


def truncated(tag: str) -> Iterator[str]:
    """A language tag and what it is a kind of: ``zh-hant-tw``, ``zh-hant``, ``zh``; nothing of what is no tag."""
    parts = tag.replace("_", "-").lower().split("-") if _TAG.fullmatch(tag) else []
    while parts:
        yield "-".join(parts)
        parts.pop()


@functools.lru_cache(256)
def known_to_babel(tag: str) -> Locale | None:
    """The formats of a language, or of the one that it is a kind of; None: of no known one."""
    for candidate in truncated(tag):
        try:
            return Locale.parse(candidate, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return None


@functools.lru_cache(256)
def match(tag: str, root: Path | None) -> str | None:
    """The language of the catalogues that speak a language best; None: there are no such catalogues."""
    known, languages = known_to_babel(tag), available(root)
    likely = truncated(str(known)) if known else ()  # Babel knows that Taiwan's Chinese is written zh-Hant
    kinds = (*itertools.islice(truncated(tag), 1), *likely, *truncated(tag))
    return next((kind for kind in kinds if kind in languages), None)


@functools.cache
def available(root: Path | None) -> frozenset[str]:
    """The languages that there are texts in, in lower case, with hyphens.

    :param root: the deployment's folder.
    """
    return frozenset({ENGLISH, *_languages(SHIPPED), *(_languages(root / "locale") if root else ())})


@functools.cache
def _languages(folder: Path) -> dict[str, Path]:
    """The catalogues of a folder, by language. Where both are there, a ``.po`` is no older than its ``.mo``."""
    found: dict[str, Path] = {}
    for suffix in (".mo", ".po"):
        for path in sorted(folder.glob(f"*/LC_MESSAGES/{DOMAIN}{suffix}")):
            found[path.parent.parent.name.replace("_", "-").lower()] = path
    return found


@functools.lru_cache(256)
def translations(tag: str, root: Path | None) -> NullTranslations:
    """The texts of a language: the deployment's, then ours, then those of the language that it is a kind of.

    What none of them has is said in English.
    """
    chain = NullTranslations()
    for language in reversed(_speaking(tag, root)):
        for folder in (SHIPPED, root / "locale") if root else (SHIPPED,):
            if (path := _languages(folder).get(language)) is not None and (compiled := _read(path)) is not None:
                first = _translations(compiled)  # made anew: a fallback is for this chain alone
                first.add_fallback(chain)
                chain = first
    return chain


def _speaking(tag: str, root: Path | None) -> list[str]:
    best = match(tag, root)
    languages = [*truncated(best)] if best else []
    return languages if ENGLISH in languages else [*languages, ENGLISH]


@functools.cache
def _read(path: Path) -> bytes | None:
    """A catalogue, compiled; None: it can't be read."""
    try:
        compiled = _compiled(_sound(_catalogue(path), path))
        _translations(compiled)
        return compiled
    except Exception as error:  # a deployment's file may be anything, and a mail is more important than its language
        logger.warning("%s is no catalogue, and is left out: %s", path, error)
        return None


def _catalogue(path: Path) -> Catalog:
    language = known_to_babel(path.parent.parent.name) or Locale(ENGLISH)  # whose plurals it has, if it gives no rule
    with path.open("rb") as file:
        read = read_mo(file) if path.suffix == ".mo" else read_po(file, locale=language, abort_invalid=True)
    read.locale = read.locale or language  # Babel writes no rule into a catalogue of a language that it does not know
    return read


def _sound(catalogue: Catalog, path: Path) -> Catalog:
    """The catalogue without the translations that could not be filled in."""
    for message in list(catalogue):
        original = " ".join(_forms(message.id))
        if message.id and not all(fits(original, form) for form in _forms(message.string)):
            logger.warning("%s: the translation of %r can't be filled in, and is left out", path, message.id)
            catalogue.delete(message.id, message.context)
    return catalogue


def _forms(one_or_several: str | Sequence[str] | None) -> Sequence[str]:
    """A text, or its singular and its plurals."""
    return [one_or_several or ""] if isinstance(one_or_several, str | None) else one_or_several


class Blank(dict[str, str]):
    """Fields, all of them empty. ``%s`` without a name would show them all, and so refuses."""

    def __repr__(self) -> str:
        raise TypeError("a placeholder has no name")


def fits(original: str, translation: str) -> bool:
    """Whether a translation can be filled in wherever the original can."""
    fields = Blank.fromkeys(_PLACEHOLDER.findall(original), "")
    return not _fills(original, fields) or _fills(translation, fields)


def _fills(text: str, fields: dict[str, str]) -> bool:
    try:
        text % fields
    except (KeyError, ValueError, TypeError):
        return False
    return True


def _compiled(catalogue: Catalog) -> bytes:
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    return compiled.getvalue()


def _translations(compiled: bytes) -> GNUTranslations:
    return GNUTranslations(io.BytesIO(compiled))
