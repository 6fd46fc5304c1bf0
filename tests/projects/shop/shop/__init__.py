"""An application with a Celery app, models and migrations of its own, to which bgtasks was added."""
