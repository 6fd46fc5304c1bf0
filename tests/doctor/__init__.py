"""``celery bgtasks check``: each part of a deployment once well, and once broken."""
