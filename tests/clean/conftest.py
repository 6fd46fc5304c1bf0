"""What the tests of the sweep share."""

from __future__ import annotations

from tests.record.conftest import impatient, outage

__all__ = ["impatient", "outage"]
