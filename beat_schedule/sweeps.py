"""The sweeps: what a lost message or a dead worker has left behind goes on, and what is over goes."""

from __future__ import annotations

from bgtasks.sweeps import schedule

entries = schedule()
