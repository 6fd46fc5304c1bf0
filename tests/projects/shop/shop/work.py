"""The application's own tasks, on its own queue."""

from __future__ import annotations

from shop.celery import app


@app.task(name="shop.stocktaking")
def stocktaking() -> str:
    """Count what is there."""
    return "all there"
