"""The settings of what operators see: a part of ``Settings``."""

from __future__ import annotations

from pydantic import BaseModel, Field


class WatchingSettings(BaseModel):
    """Metrics and logs. (Traces are on where a process has a tracer provider.)"""

    #: Whether the files application answers ``/metrics``, to everybody who reaches it.
    metrics: bool = False
    #: The port at which a worker shows its children's metrics; None: nowhere.
    metrics_port: int | None = Field(None, ge=1, le=65535)
    #: The address that it listens at; ``0.0.0.0`` for other machines too.
    metrics_host: str = Field("127.0.0.1", min_length=1)
    #: Whether workers and beat write their logs as JSON.
    json_logs: bool = False
