"""A Celery worker with one empty task and nothing of ours: the configuration that others are compared with."""

from __future__ import annotations

imports = ("tests.bench.noop",)
accept_content = ["json"]
task_ignore_result = True
worker_disable_prefetch = True
worker_prefetch_multiplier = 1
