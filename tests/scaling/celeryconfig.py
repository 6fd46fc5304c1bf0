"""The reference deployment with file types that have queues to choose from, and without sweeps."""

from __future__ import annotations

import celeryconfig as reference

globals().update({name: value for name, value in vars(reference).items() if not name.startswith("_")})

imports = ("bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps", "tests.scaling.file_types")

# What happens here happens without their help.
beat_schedule: dict[str, object] = {}
