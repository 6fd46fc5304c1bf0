"""What is printed of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from bgtasks.states import EventKind, State
from tests.chaos.faults import FAULTS
from tests.chaos.invariants import RULES
from tests.chaos.outcome import Ended
from tests.chaos.run import Done

#: Requests whose histories are printed where a rule is broken.
TALES = 10

#: What the histories tell of repairs.
REPAIRS = {
    "taken over from a dead worker": EventKind.RECOVERED,
    "handed back": EventKind.HANDED_BACK,
    "dispatched again": EventKind.DISPATCHED,
    "told in vain": EventKind.NOTIFY_FAILED,
}


def lines(done: Done) -> Iterator[str]:
    """The tables, and whether all rules hold."""
    yield from _table("injected", ((fault.name, done.injected[fault.name]) for fault in FAULTS))
    yield from _table("came out", _came_out(done))
    yield from _table("in between", _in_between(done))
    yield ""
    broken = {breach.rule for breach in done.breaches}
    yield f"{len(RULES) - len(broken)} of {len(RULES)} rules hold" + (":" if broken else ".")
    yield from (f"  BROKEN: {breach.rule}: {breach.name}: {breach.what}" for breach in done.breaches)
    yield from _tales(done)


def _came_out(done: Done) -> Iterator[tuple[str, object]]:
    outcome = done.outcome
    yield "requests", len(outcome.ended)
    for end, times in sorted(Counter((one.row.state, one.end) for one in outcome.ended).items()):
        yield f"  {end[0]}" + (f": {end[1]}" if end[0] == State.FAILED else ""), times
    yield "mails", outcome.mails
    yield "  of these, second copies", sum(one.copies for one in outcome.ended)
    yield "objects in the store", len(outcome.objects)
    yield "files of which parts were out", len(_in_parts(done))
    yield "  of these, ready", sum(one.row.state == State.READY for one in _in_parts(done))
    yield "  parts that were written", sum(one.times(EventKind.PART) for one in _in_parts(done))
    yield "seconds of chaos", f"{done.seconds:.1f}"
    yield "seconds until all was at rest", f"{done.rest:.1f}"
    yield "seconds of the longest request", f"{max((one.seconds for one in outcome.ended), default=0):.1f}"


def _in_between(done: Done) -> Iterator[tuple[str, object]]:
    ended = done.outcome.ended
    for name, kind in REPAIRS.items():
        yield name, sum(one.times(kind) for one in ended)
    yield "parts taken over from a dead worker", sum(one.lost_parts.total() for one in ended)
    yield "parts handed back", sum(one.parts_handed_back for one in ended)
    yield "most take-overs of one part", max((max(one.lost_parts.values(), default=0) for one in ended), default=0)
    yield "most attempts of a request", max((one.row.attempts for one in ended), default=0)
    yield "highest fence", max((one.row.fence for one in ended), default=0)
    yield "asked again, since there was no row yet", done.asked_again
    yield "mails refused for a while", done.refused
    yield "orphans that the last sweep removed", done.removed.orphans


def _in_parts(done: Done) -> list[Ended]:
    return [one for one in done.outcome.ended if one.times(EventKind.PARTS)]


def _table(title: str, cells: Iterable[tuple[str, object]]) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {name:<48}{value:>8}" for name, value in cells)


def _tales(done: Done) -> Iterator[str]:
    """The histories of the requests that break a rule."""
    names = {breach.name for breach in done.breaches}
    for one in [one for one in done.outcome.ended if one.wish.name in names][:TALES]:
        yield ""
        yield one.title
        yield from (f"  {entry}" for entry in one.tale)
