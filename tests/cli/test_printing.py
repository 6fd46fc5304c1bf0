"""Values as people read them, and nothing that a terminal would obey."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bgtasks.cli import printing
from bgtasks.sweeps.cleaning import reason

TEXTS: list[tuple[Callable[..., str], object, str]] = [
    (printing.printable, "a\tb\nc\x00\x7f\x85\u200b\ud800\U000e0041", r"a\tb\nc\x00\x7f\x85\u200b\ud800\U000e0041"),
    (printing.printable, "Grüße 你好 👩\u200d💻 नमस्ते", "Grüße 你好 👩\u200d💻 नमस्ते"),
    (printing.lasting, 0.0123, "12ms"),
    (printing.lasting, 2.345, "2.3s"),
    (printing.lasting, 119, "119s"),
    (printing.lasting, 120, "2m"),
    (printing.lasting, 7 * 3600 + 3599, "7h"),
    (printing.lasting, 50 * 3600, "2d"),
    (printing.size, None, ""),
    (printing.size, 999, "999 B"),
    (printing.size, 1_500, "1.5 kB"),
    (printing.size, 24_938_267, "24.9 MB"),
    (printing.size, 3 * 10**12, "3.0 TB"),
    (printing.place, "ada@example.com", "ada@example.com"),
    (printing.place, "https://user:secret@example.com:8443/secret?secret", "https://example.com:8443/…"),
    (printing.place, "slack://secret/secret", "slack://…"),
    (printing.place, "https://[secret", "https://…"),
]


@pytest.mark.parametrize(("way", "value", "said"), TEXTS)
def test_a_value_is_said_briefly_and_plainly(way: Callable[..., str], value: object, said: str) -> None:
    """Units that tell it, no secret of a URL, and letters of every script as they are."""
    assert way(value) == said


def test_what_a_service_has_said_ends_no_sentence() -> None:
    """The sentence that it stands in has a full stop of its own."""
    assert reason(ConnectionError("refused.\nand more")) == "ConnectionError: refused"
    assert reason(OSError("refused.")) == "OSError: refused"
