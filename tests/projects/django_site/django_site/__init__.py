"""A Django site that exports its orders. Its Celery app is made in every process of the site."""

from __future__ import annotations

from django_site.celery import app as celery_app

__all__ = ["celery_app"]
