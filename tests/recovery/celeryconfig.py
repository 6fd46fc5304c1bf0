"""The reference deployment, with faults at exact points, with file types that misbehave, and with short times."""

from __future__ import annotations

import celeryconfig as reference
from bgtasks import sweeps

globals().update({name: value for name, value in vars(reference).items() if not name.startswith("_")})

imports = (*reference.imports, "tests.recovery.file_types", "tests.support.faults")

# Seconds that a worker which is told to stop leaves its steps, before they are handed over.
worker_soft_shutdown_timeout = 2.0

# Every sweep each second, and no recurring exports.
beat_schedule = {name: {**entry, "schedule": 1.0} for name, entry in sweeps.schedule().items()}
