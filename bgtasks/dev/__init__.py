"""The whole system on one machine, nothing to install by hand: ``celery bgtasks demo`` and ``celery bgtasks dev``.

Needs the extra ``dev``.
"""
