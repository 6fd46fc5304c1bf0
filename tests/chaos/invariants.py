"""What must hold in the end, whatever has happened: each function names a rule, and finds what breaks it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bgtasks import toolbox
from bgtasks.canvas import STEPS
from bgtasks.errors import BadToken
from bgtasks.states import ENDED, EventKind, State
from tests.chaos import celeryconfig, exports
from tests.chaos.outcome import ENDS, Ended, Outcome, times
from tests.chaos.wishes import WORKER_LOST

MOST_ATTEMPTS = celeryconfig.bgtasks_max_attempts
#: What the history says of a worker that was lost at the telling, maybe after the mail server had taken the mail.
LOST_TELLERS = (EventKind.RECOVERED, EventKind.NOTIFY_FAILED)


class Breach(NamedTuple):
    """Something that breaks a rule."""

    rule: str
    name: str  #: of the request, or of what else it is
    what: str


#: What is wrong, each time with the name of what it is about.
Finding = tuple[str, str]
Rule = Callable[[Outcome], Iterator[Finding]]


def every_request_is_in_the_table_once(outcome: Outcome) -> Iterator[Finding]:
    for wish in outcome.wishes:
        if len(rows := outcome.rows[wish.name]) != 1:
            yield wish.name, f"{len(rows)} rows"
    yield from ((name, "nobody has asked for it") for name in outcome.strangers)


def every_request_has_ended(outcome: Outcome) -> Iterator[Finding]:
    for one in outcome.ended:
        if one.row.state not in ENDED or one.row.leased_by or one.row.leased_until or one.row.dispatch_at:
            yield one.wish.name, f"{one.row.state} after {one.row.step!r}, {one.row.leased_by}, {one.row.dispatch_at}"


def every_request_has_ended_as_it_may(outcome: Outcome) -> Iterator[Finding]:
    for one in outcome.ended:
        if one.end not in one.wish.ends:
            yield one.wish.name, f"{one.end} (it {one.wish.kind})"
        lost = 1 + (_most_of_a_part(one) if one.has_ended_in_parts else times(one.in_one_hand, EventKind.RECOVERED))
        if one.end == WORKER_LOST and lost != MOST_ATTEMPTS:
            yield one.wish.name, f"given up when its worker was lost for time {lost}"
        if one.wish.name in outcome.cancelled and one.row.state != State.CANCELLED:
            yield one.wish.name, "was cancelled, and went on"


def attempts_are_counted_and_bounded(outcome: Outcome) -> Iterator[Finding]:
    for one in outcome.ended:
        gave_up = one.end == WORKER_LOST
        making = times(one.in_one_hand, EventKind.RECOVERED) + (gave_up and not one.has_ended_in_parts)
        telling = times(one.telling, *LOST_TELLERS)
        of_a_part = _most_of_a_part(one) + (gave_up and one.has_ended_in_parts)
        if one.row.attempts != making + telling or max(making, telling, of_a_part) > MOST_ATTEMPTS:
            found = f"in the history {making}, {telling} at the telling, and {of_a_part} of a part"
            yield one.wish.name, f"{one.row.attempts} attempts; {found}"


def every_step_has_ended_once_and_in_order(outcome: Outcome) -> Iterator[Finding]:
    for one in outcome.ended:
        steps = [entry.step for entry in one.history if entry.kind == EventKind.STEP]
        untold = one.times(EventKind.NOTIFY_FAILED)
        if one.row.state == State.READY and steps != list(STEPS[: len(STEPS) - untold]):
            yield one.wish.name, f"steps: {steps}"
        if one.times(*ENDS) != 1:
            yield one.wish.name, "ended more or less than once"


def every_part_is_written_once(outcome: Outcome) -> Iterator[Finding]:
    for one in outcome.ended:
        done = Counter(str(entry.detail) for entry in one.history if entry.kind == EventKind.PART)
        total = one.row.parts_total or 0
        known = [f"{number}/{total}" for number in range(1, total + 1)]
        fan_outs, is_written = one.times(EventKind.PARTS), one.row.state == State.READY
        if fan_outs > 1 or (is_written and fan_outs != (total > 0)) or total > one.wish.criteria.get("parts", 0):
            yield one.wish.name, f"{total} parts, which were out {fan_outs} times"
        if any(times > 1 for times in done.values()) or not done.keys() <= set(known):
            yield one.wish.name, f"parts of {total}: {dict(done)}"
        if is_written and len(done) != total:
            yield one.wish.name, f"ready with {len(done)} of {total} parts"


def no_part_is_left(outcome: Outcome) -> Iterator[Finding]:
    names = {one.row.id: one.wish.name for one in outcome.ended}
    yield from ((names.get(part.request_id, part.request_id), f"part {part.number + 1}") for part in outcome.parts)


def every_ready_file_says_what_the_table_says(outcome: Outcome) -> Iterator[Finding]:
    for one in _ready(outcome):
        file = outcome.store / str(one.row.object_key)
        contents = file.read_bytes() if file.is_file() else None
        if contents is None:
            yield one.wish.name, "its file is gone"
        elif (len(contents), hashlib.sha256(contents).hexdigest()) != (one.row.size, one.row.sha256):
            yield one.wish.name, f"{len(contents)} bytes with another digest than the row's, which says {one.row.size}"
        elif not exports.is_right(contents, one.wish.format, one.wish.criteria):
            yield one.wish.name, "its file says something else than the table"
        elif one.row.rows_written != one.wish.criteria["rows"]:
            yield one.wish.name, f"{one.row.rows_written} rows by the row's own count"


def every_requester_is_told_once(outcome: Outcome) -> Iterator[Finding]:
    for one in outcome.ended:
        most = 0 if one.row.state == State.CANCELLED else 1
        least = 0 if one.times(EventKind.NOTIFY_FAILED) else most  # it was tried as often as it may be
        if not least <= len({mail.id for mail in one.mails}) <= most:
            yield one.wish.name, f"{one.row.state}, and {len(one.mails)} mails: {[mail.id for mail in one.mails]}"
        if any(mail.recipients != [one.wish.requester] for mail in one.mails):
            yield one.wish.name, "somebody else was told"


def a_mail_comes_twice_only_if_its_sender_was_lost(outcome: Outcome) -> Iterator[Finding]:
    for one in outcome.ended:
        lost = times(one.telling, *LOST_TELLERS)
        if one.copies > lost:
            yield one.wish.name, f"{one.copies} copies too many, and {lost} senders lost"


def every_mail_tells_the_end_and_brings_the_file(outcome: Outcome) -> Iterator[Finding]:
    for one in outcome.ended:
        for mail in one.mails:
            brought = _request_of(mail.token) if mail.token else None
            if brought != (one.row.id if one.row.state == State.READY else None):
                yield one.wish.name, f"{one.row.state}, and its mail's link is for {brought}"


def nothing_is_orphaned(outcome: Outcome) -> Iterator[Finding]:
    named = {one.row.object_key for one in outcome.ended if one.row.object_key}
    yield from ((key, "no row names it") for key in outcome.objects - named)
    yield from ((key, "it is not there") for key in named - outcome.objects)
    for one in outcome.ended:
        if one.row.object_key and one.row.state != State.READY:
            yield one.wish.name, f"{one.row.state}, and names an object"


def whoever_waits_is_answered(outcome: Outcome) -> Iterator[Finding]:
    """The broker that was emptied has forgotten the earlier answers."""
    for one in outcome.ended:
        if one.row.finished_at is None or one.row.finished_at.timestamp() <= outcome.emptied:
            continue
        if one.row.state == State.READY:
            answered = isinstance(one.result, dict) and (one.result["id"], one.result["sha256"])
            if answered != (one.row.id, one.row.sha256):
                yield one.wish.name, f"ready, and the result is {one.result!r}"
        elif getattr(one.result, "error_code", None) != one.end:
            yield one.wish.name, f"{one.end}, and the result is {one.result!r}"


def no_process_ends_by_itself_or_would_not_end(outcome: Outcome) -> Iterator[Finding]:
    yield from (("a process", what) for what in outcome.processes)


RULES: tuple[Rule, ...] = (
    every_request_is_in_the_table_once,
    every_request_has_ended,
    every_request_has_ended_as_it_may,
    attempts_are_counted_and_bounded,
    every_step_has_ended_once_and_in_order,
    every_part_is_written_once,
    no_part_is_left,
    every_ready_file_says_what_the_table_says,
    every_requester_is_told_once,
    a_mail_comes_twice_only_if_its_sender_was_lost,
    every_mail_tells_the_end_and_brings_the_file,
    nothing_is_orphaned,
    whoever_waits_is_answered,
    no_process_ends_by_itself_or_would_not_end,
)


def breaches(outcome: Outcome) -> list[Breach]:
    """All that breaks a rule."""
    return [Breach(rule.__name__.replace("_", " "), *finding) for rule in RULES for finding in rule(outcome)]


def _most_of_a_part(one: Ended) -> int:
    """How often the worker of one part was lost, of all its parts the most; without a last time that ended it all."""
    return max(one.lost_parts.values(), default=0)


def _ready(outcome: Outcome) -> list[Ended]:
    return [one for one in outcome.ended if one.row.state == State.READY]


def _request_of(token: str) -> str | None:
    try:
        return toolbox.decode(token)[0].id
    except BadToken:
        return None
