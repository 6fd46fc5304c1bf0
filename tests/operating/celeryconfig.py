"""The reference deployment with secrets in all of its settings, and with a report that is wanted twice a second."""

from __future__ import annotations

import celeryconfig as reference
from beat_schedule import reports
from tests.operating import markers

globals().update({name: value for name, value in vars(reference).items() if not name.startswith("_")})

imports = (*reference.imports, "tests.operating.file_types")

# What the environment says counts; these are what an operator might be shown.
bgtasks_default_key = markers.KEY
bgtasks_database_url = f"postgresql://exports:{markers.DATABASE}@db.example.com/exports"
bgtasks_store_url = f"s3://{markers.STORE}@bucket"
bgtasks_smtp_url = f"smtp://mailer:{markers.SMTP}@mail.example.com"

# Beat asks twice a second for what it asks for once a week in the reference deployment.
beat_schedule = {
    name: {**entry, "schedule": 0.5, "kwargs": {**entry["kwargs"], "requester": markers.OFFICE}}
    for name, entry in reports.entries.items()
}
