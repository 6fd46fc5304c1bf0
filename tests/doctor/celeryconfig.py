"""A small deployment, of which the environment says where its services are."""

from __future__ import annotations

imports = ("bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps", "tests.doctor.registered")
accept_content = ["json"]
task_default_queue = "bgtasks"
worker_disable_prefetch = True
bgtasks_base_url = "http://127.0.0.1:1"
