"""``celery bgtasks init``: a new deployment, and what becomes of whoever follows its words."""
