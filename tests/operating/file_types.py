"""What this deployment offers beside the reference deployment's file types."""

from __future__ import annotations

from bgtasks import registry
from tasks.flights import Flights, flights


class FlightsInParts(Flights):
    """The same, of which two workers write a half each."""

    file_type = "flights_in_parts"
    formats = ("csv",)
    queue = "files.flights"
    parts = 2
    part_key = flights.c.id


registry.register(FlightsInParts)
