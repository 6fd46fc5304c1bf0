"""Six steps that do nothing, as plain Celery tasks: what a chain costs before anybody does anything in it."""

from __future__ import annotations

from celery import shared_task

STEPS = ("fetch_criteria", "build_items", "write_bytes", "attach", "tokenize", "notify")


def _nothing(claim: str) -> str:
    return claim


TASKS = [shared_task(name=f"noop.{step}", ignore_result=step != STEPS[-1])(_nothing) for step in STEPS]
