"""The reference deployment, with the file types and the empty tasks of the benchmark."""

from __future__ import annotations

import celeryconfig as reference

globals().update({name: value for name, value in vars(reference).items() if not name.startswith("_")})

imports = ("bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps", "tests.bench.file_types", "tests.bench.noop")

beat_schedule: dict[str, object] = {}

# The child that is measured must stay.
worker_max_memory_per_child = None

bgtasks_base_url = "https://files.example.com"
