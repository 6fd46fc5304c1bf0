"""The reference deployment with one file type, with short times, and with sweeps that follow each other closely."""

from __future__ import annotations

import celeryconfig as reference
from bgtasks import sweeps

globals().update({name: value for name, value in vars(reference).items() if not name.startswith("_")})

imports = ("bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps", "tests.chaos.exports", "tests.chaos.pulse")

# Seconds between two runs of each sweep, `clean` too: it must never remove what somebody is about to name.
INTERVAL = 2.0

beat_schedule = {
    name: {**entry, "schedule": INTERVAL, "options": {**entry["options"], "expires": INTERVAL}}
    for name, entry in sweeps.schedule().items()
}

# Seconds that a worker which is told to stop leaves its steps, before they are handed over.
worker_soft_shutdown_timeout = 1.0

bgtasks_lease = 3
bgtasks_patience = 5

# More than the default: what is killed at random shall seldom be killed for good. The requests that kill their own
# worker each time see to it that this end is met.
bgtasks_max_attempts = 5

bgtasks_base_url = "https://files.example.com"
