"""The catalogues that we ship are whole: nobody forgets a text, or to run ``make messages``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from bgtasks import catalogues, locales
from tests.locale import messages

LANGUAGES = ("de", "es", "fr")
_PLACEHOLDER = re.compile(r"%\(\w+\)s")


def texts(catalogue: Catalog) -> set[str | tuple[str, ...]]:
    """What a catalogue translates."""
    return {_key(message.id) for message in catalogue if message.id}


def _key(id: object) -> str | tuple[str, ...]:
    return id if isinstance(id, str) else tuple(id)  # type: ignore[arg-type, call-overload, no-any-return]


def _forms(text: object) -> list[str]:
    return [text] if isinstance(text, str) else list(text or ())  # type: ignore[call-overload, arg-type]


def _pairs(catalogue: Catalog) -> Iterator[tuple[str, str]]:
    """Each original, and what it is translated as."""
    for message in catalogue:
        originals = _forms(message.id)
        for translation in _forms(message.string) if message.id else ():
            yield originals[-1], translation


@pytest.fixture(scope="module")
def gathered() -> Catalog:
    """The texts that are in the code and the templates now."""
    return messages.gathered()


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """One of those that we ship."""
    return str(request.param)


@pytest.fixture
def shipped(language: str) -> Catalog:
    """Its catalogue."""
    return messages.read(messages.shipped()[language])


def test_these_languages_are_shipped() -> None:
    """English is in the code itself."""
    assert tuple(messages.shipped()) == LANGUAGES
    assert catalogues.available(None) == {"en", *LANGUAGES}


def test_every_text_is_in_the_catalogue_and_no_other(shipped: Catalog, gathered: Catalog) -> None:
    """``make messages`` adds what is new and removes what is gone."""
    assert texts(shipped) == texts(gathered)
    assert not shipped.obsolete


def test_the_template_for_new_languages_is_up_to_date(gathered: Catalog) -> None:
    """Whoever adds a language begins with it."""
    assert texts(messages.read(messages.TEMPLATE)) == texts(gathered)


def test_every_text_is_translated(shipped: Catalog) -> None:
    """In each of its forms, by a person who was sure."""
    assert [
        message.id for message in shipped if message.id and (message.fuzzy or not all(_forms(message.string)))
    ] == []
    assert all(len(_forms(message.string)) == shipped.num_plurals for message in shipped if message.pluralizable)


def test_every_translation_names_the_same_fields(shipped: Catalog) -> None:
    """What is missing would not be told, and what is too many would not be filled in."""
    for original, translation in _pairs(shipped):
        assert set(_PLACEHOLDER.findall(translation)) == set(_PLACEHOLDER.findall(original)), original
        assert translation.count("%") == original.count("%"), original


def test_every_translation_ends_as_its_original_does(shipped: Catalog) -> None:
    """Sentences stay sentences, and headings headings; each begins like one."""
    for original, translation in _pairs(shipped):
        ends = [text.rstrip()[-1] in ".:?!," for text in (original, translation)]
        assert ends[0] == ends[1], original
        assert translation.endswith("\n") == original.endswith("\n"), original


def test_the_library_reads_it(language: str, shipped: Catalog) -> None:
    """Nothing of it is left out as broken."""
    with locales.in_force(language, None):
        for original, translation in _pairs(shipped):
            if not isinstance(original, str) or (original, translation) not in _singular(shipped):
                continue
            assert locales.gettext(original) == translation


def _singular(catalogue: Catalog) -> set[tuple[str, str]]:
    return {(str(message.id), str(message.string)) for message in catalogue if message.id and not message.pluralizable}


def test_the_texts_of_every_corner_are_gathered(gathered: Catalog) -> None:
    """Of functions, of sentences with values, of errors' docstrings and constructors, of templates, with plurals."""
    found = texts(gathered)
    assert {
        "about %(duration)s",
        "There are more rows than this file may have (%(limit)s). Please narrow it down.",
        "The criteria are not valid.",
        "This file does not exist, or not any more.",
        "A heading is not valid Unicode",
        "Download it here:",
        ("%(number)s row", "%(number)s rows"),
    } <= found
    assert "A setting, a file type or the installation is not usable as it is." not in found


def test_a_catalogue_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gathered: Catalog) -> None:
    """What is new is untranslated, what is gone is removed, and what stays keeps its translation; twice is once."""
    shutil.copytree(catalogues.SHIPPED, tmp_path / "locale")
    monkeypatch.setattr(catalogues, "SHIPPED", tmp_path / "locale")
    path = messages.shipped()["de"]
    path.write_text(path.read_text().replace('msgid "Delete"', 'msgid "Wipe"'))
    assert messages.update("de", gathered) == 1
    updated = messages.read(path)
    assert "Delete" in updated
    assert updated["Delete"].string == ""
    assert "Wipe" not in updated
    assert updated["Download"].string == "Herunterladen"
    written = path.read_bytes()
    messages.update("de", gathered)
    assert path.read_bytes() == written
    assert messages.update("it", gathered) == len(gathered)
