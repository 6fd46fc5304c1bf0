"""The one writer of request state.

Each change is a compare-and-set: one UPDATE that names the fence (and the state) it expects, and
that tells by returning no row that somebody else was there first. What happened is written to the
history in the same transaction. DESIGN, "The record", has the protocol.
"""

from __future__ import annotations

from bgtasks.requests.asking import Asking
from bgtasks.requests.cleaning import Cleaning
from bgtasks.requests.forgetting import Forgetting
from bgtasks.requests.listing import Listing
from bgtasks.requests.outlook import Expecting, Outlook
from bgtasks.requests.parting import Parting, TooMany
from bgtasks.requests.people import People
from bgtasks.requests.reminding import Reminding
from bgtasks.requests.sweeping import Sweeping
from bgtasks.requests.working import NOTIFY, Working, available
from bgtasks.requests.writer import BY_HAND

__all__ = ["BY_HAND", "NOTIFY", "Outlook", "Parting", "Requests", "TooMany", "available"]


class Requests(Asking, Working, Sweeping, Cleaning, Reminding, People, Expecting, Listing, Forgetting):
    """The record of one deployment. Every method is one transaction, unless it takes a session."""
