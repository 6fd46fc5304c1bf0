"""File names that every system takes, wherever they came from."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgtasks.filenames import MAX_BYTES, resuffixed, safe

UNWANTED = ("Cc", "Cs")  # controls, halves of surrogate pairs
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
PORTS = [port + digit for port in ("com", "lpt") for digit in "0189¹²³"]
DEVICES = ["con", "prn", "aux", "nul", "conin$", "conout$", *PORTS]


@pytest.mark.parametrize(
    "name",
    [
        "flights.csv",
        "Bericht für Zoë.xlsx",
        "レポート.csv",
        "archive.tar.gz",
        "flights.csv.gz",
        "flights.jsonl.zst",
        "a b.csv",
        "🙂.csv",
        "-x.csv",
        "v1.2",
        "README",
    ],
)
def test_a_harmless_name_is_unchanged(name: str) -> None:
    """Any script, blanks, several dots, no suffix."""
    assert safe(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "etc_passwd"),
        ("C:\\Users\\me\\x.csv", "C_Users_me_x.csv"),
        ("/tmp/x.csv", "tmp_x.csv"),
        ('say "hi".csv', "say _hi_.csv"),
        ("a<b>c|d?e*.csv", "a_b_c_d_e_.csv"),
        ("a\r\nSet-Cookie: x=1.csv", "a_Set-Cookie_ x=1.csv"),
        ("a\x00b\x1f\x7f\x9f.csv", "a_b_.csv"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("half \ud83d.csv", "half _.csv"),
        ("  many   blanks\u3000here .csv ", "many blanks here .csv"),
        ("Zoe\u0308.csv", "Zoë.csv"),
        ("trailing. . .", "trailing"),
        (".bashrc", "file.bashrc"),
        (".csv", "file.csv"),
        (".csv.gz", "file.csv.gz"),
        (".gz", "file.gz"),
        ("/.csv", "file.csv"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        ("... . .", "file"),
        ("///", "file"),
        ("\u200b", "file"),
    ],
)
def test_what_is_unsafe_is_replaced(name: str, expected: str) -> None:
    """Paths, quotes, controls, what turns a text around; and nothing is left hidden or empty."""
    assert safe(name) == expected


def test_the_default_stands_for_an_empty_name() -> None:
    """With the suffix, if there was one."""
    assert safe("...", default="flights") == "flights"
    assert safe(".csv", default="flights") == "flights.csv"


@pytest.mark.parametrize("character", [*BIDI, "\u200b", "\u2028", "\u2029", "\u2060", "\ufeff", "\ufffe", "\uffff"])
def test_what_can_not_be_seen_is_replaced(character: str) -> None:
    """Marks that turn a text around, and characters that nobody sees."""
    assert safe(f"a{character}b.csv") == "a_b.csv"


@pytest.mark.parametrize("suffix", ["", ".csv", ".tar.gz", " .csv"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_device_of_windows_is_made_a_file(device: str, suffix: str) -> None:
    """Windows saves no file called NUL.csv, whatever its suffix and case."""
    assert safe(device + suffix) == f"{device}_{suffix.lstrip()}"
    assert safe(device.upper() + suffix) == f"{device.upper()}_{suffix.lstrip()}"


@pytest.mark.parametrize("name", ["console.csv", "com.csv", "com10.csv", "my con.csv", "nul-report.csv", "auxiliary"])
def test_a_name_that_only_begins_like_a_device_is_unchanged(name: str) -> None:
    """The whole stem counts."""
    assert safe(name) == name


@pytest.mark.parametrize("letter", ["a", "ü", "字", "🙂"])
@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".csv.gz", ".JSONL.ZST", ".gz", ""])
def test_a_long_name_is_cut_before_its_suffix(letter: str, suffix: str) -> None:
    """To whole characters, with room for what browsers add."""
    cut = safe(letter * 300 + suffix)
    assert re.fullmatch(f"{letter}+{re.escape(suffix)}", cut)
    assert MAX_BYTES - 4 < len(cut.encode()) <= MAX_BYTES


def test_a_long_last_part_is_no_suffix() -> None:
    """A sentence with a dot in it is cut at its end."""
    assert safe("a." + "b" * 300) == "a." + "b" * (MAX_BYTES - 2)


names = (
    st.text(max_size=300)
    | st.text("a.ü_ /\\:\u0301\u202e\n\"'<>", max_size=40)
    | st.tuples(st.sampled_from([*DEVICES, "x" * 199, "ü" * 99]), st.text("._ a/", max_size=8)).map("".join)
)


@given(names)
@example("x" * 600 + ".csv")
@example("a" * 199 + ". " + "b" * 50)
@example("a" * 195 + " . ._.csv")
@example("a" * 190 + " . ._.csv.gz")
@example("a" * 300 + "." + "b" * 18 + ".zst")
@example("._.csv.gz")
@example("<\u0338")
@example("con" + " " * 198)
def test_every_name_becomes_a_name_that_every_system_takes(name: str) -> None:
    """Never empty, no path, no control, no bidirectional override, short; and a safe name stays as it is."""
    made = safe(name)
    assert made.strip("._ ")
    assert made not in (".", "..")
    assert not set(made) & {*'/\\:*?"<>|', *BIDI}
    assert not any(unicodedata.category(character) in UNWANTED for character in made)
    assert len(made.encode()) <= 255
    assert made[0] not in "._ "
    assert made[-1] not in ". "
    assert made.split(".")[0].rstrip().lower() not in DEVICES
    assert safe(made) == made


KNOWN = [".csv", ".csv.gz", ".csv.zst", ".xlsx"]


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("report.csv", ".csv", "report.csv"),
        ("report.CSV", ".csv", "report.CSV"),
        ("report.csv", ".csv.gz", "report.csv.gz"),
        ("report.csv.gz", ".csv", "report.csv"),
        ("Report.CSV.GZ", ".xlsx", "Report.xlsx"),
        ("report.v2.xlsx", ".csv.zst", "report.v2.csv.zst"),
        ("report.csv.zst", ".csv.gz", "report.csv.gz"),
        ("report.csv.csv", ".xlsx", "report.csv.xlsx"),
        (".csv", ".xlsx", ".xlsx"),
        ("report", ".csv", "report"),
        ("report.txt", ".csv", "report.txt"),
        ("report.gz", ".csv", "report.gz"),
        ("v1.2", ".csv.gz", "v1.2"),
    ],
)
def test_another_formats_suffix_is_replaced(name: str, suffix: str, expected: str) -> None:
    """A name says what the file is; one that says nothing of it, or something of its own, is left alone."""
    assert resuffixed(name, suffix, KNOWN) == expected
