"""What a worker of these tests knows."""

from __future__ import annotations

from bgtasks import registry
from tests.support.file_types import Numbers

registry.register(Numbers)
