"""Whether the workers are there, are of one mind with this process, and consume every queue."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import select, type_coerce

from bgtasks import particulars, registry, routes
from bgtasks.database import later
from bgtasks.doctor.findings import Check, Finding, NotExaminedError, fault, ok, warning
from bgtasks.doctor.subject import Subject
from bgtasks.install import queue_names
from bgtasks.models import FileRequest, UtcDateTime
from bgtasks.states import LIVE

#: By how many seconds a clock may differ. A link that was signed in the future is not valid.
DOUBTFUL, WRONG = 2.0, 30.0
SYNCHRONISE = "timedatectl set-ntp true  # on that machine, or what keeps its clock otherwise"


def workers_check(subject: Subject) -> Iterator[Finding]:
    """Whether they see the database, the key, the store and the file types that this process sees."""
    answers = subject.workers
    if not answers.queues:
        yield fault("no worker answers.", "REMAP_SIGTERM=SIGQUIT celery worker")
        return
    ours = set(_queue_names(subject))
    for name in sorted(answers.queues.keys() - answers.particulars.keys()):
        if shared := sorted(ours & answers.queues[name]):
            yield fault(
                f"{name} consumes {', '.join(shared)}, and does not know bgtasks: it loses what it takes.",
                "restart it with this app's configuration and this release, or give it other queues (-Q)",
            )
    if not answers.particulars:
        yield fault("no worker has bgtasks.", "REMAP_SIGTERM=SIGQUIT celery worker")
    elif subject.key_fault is not None:
        raise NotExaminedError("the key")
    else:
        mine = particulars.of(subject.settings)
        faults = [found for name in sorted(answers.particulars) for found in _compared(subject, mine, name)]
        faults += _stores(mine, answers.particulars)
        yield from faults or [ok(f"{', '.join(sorted(answers.particulars))}: of one mind with this process.")]


def _compared(subject: Subject, mine: dict[str, Any], name: str) -> Iterator[Finding]:
    theirs = subject.workers.particulars[name]
    pairs = [(one, two) for one in mine["keys"] for two in theirs["keys"] if one["key"] == two["key"]]
    if theirs["version"] != mine["version"]:
        yield warning(f"{name} has bgtasks {theirs['version']}; this process {mine['version']}.", "upgrade both")
    if not pairs:
        yield fault(
            f"{name} has another key: what one of them signs, the other refuses.",
            "give both the same bgtasks_default_key",
        )
        return
    shared = {one["key"] for one, _ in pairs}
    if not {mine["keys"][-1]["key"], theirs["keys"][-1]["key"]} <= shared:
        yield fault(
            f"{name} and this process don't both know the key that each of them signs with.",
            "add a new key everywhere before anybody signs with it",
        )
    is_elsewhere = theirs["host"] != mine["host"] and particulars.is_on_one_machine(subject.settings)
    yield from _places(name, *pairs[-1], is_elsewhere=is_elsewhere)
    yield from _types(subject, name, set(mine["file_types"]), set(theirs["file_types"]))


def _places(name: str, one: dict[str, str], two: dict[str, str], *, is_elsewhere: bool) -> Iterator[Finding]:
    if one["database"] != two["database"]:
        yield fault(f"{name} has another database than this process.", "give both the same bgtasks_database_url")
    elif one["server"] != two["server"]:
        yield warning(
            f"{name} reaches a database of the same name at another address: another one, or another name of it.",
            "compare bgtasks_database_url on both",
        )
    if one["store"] != two["store"]:
        yield fault(f"{name} has another store than this process.", "give both the same bgtasks_store_url")
    elif is_elsewhere:
        yield warning(
            f"{name} is on another machine, and the database or the store is on a disk.",
            "share that folder, or take postgresql://… and s3://…",
        )


def _stores(mine: dict[str, Any], theirs: Mapping[str, dict[str, Any]]) -> Iterator[Finding]:
    """The types whose files one process puts elsewhere than another: of the workers, or this one."""
    everybody = {"this process": mine, **theirs}
    told: set[str] = set()
    for key in (entry["key"] for entry in mine["keys"]):
        # A worker of an earlier release does not say.
        said = {
            who: entry["stores"]
            for who, of in everybody.items()
            for entry in of["keys"]
            if entry["key"] == key and "stores" in entry
        }
        for name in sorted(set().union(*said.values()) - told):
            groups = _by_place({who: stores[name] for who, stores in said.items() if name in stores})
            if len(groups) > 1:
                told.add(name)
                yield warning(
                    f"{' and '.join(groups)} put the files of {name} into different stores.",
                    f"give all of them the same store_url of {name}, and restart them",
                )


def _by_place(marks: Mapping[str, str | None]) -> list[str]:
    """Who has the same mark, together; in order."""
    groups: dict[str | None, list[str]] = {}
    for who, place in marks.items():
        groups.setdefault(place, []).append(who)
    return [", ".join(sorted(group)) for group in groups.values()]


def _types(subject: Subject, name: str, mine: set[str], theirs: set[str]) -> Iterator[Finding]:
    consumed = subject.workers.queues[name]
    if missing := sorted(type for type in mine - theirs if consumed & set(_queues_of(type))):
        yield fault(
            f"{name} consumes the queues of {', '.join(missing)}, and does not know these file types.",
            "restart it with the same modules in `imports`",
        )
    if more := sorted(theirs - mine):
        yield warning(
            f"{name} knows file types that this process does not: {', '.join(more)}.",
            "name their modules in `imports` here too",
        )


def _queues_of(file_type: str) -> Iterable[str]:
    return routes.known(registry.get(file_type)())


def queues_check(subject: Subject) -> Iterator[Finding]:
    """Whether each of our queues has a worker, those too that ``get_queue`` has chosen for what is to be done."""
    consumed = set().union(*subject.workers.queues.values())
    names = list(dict.fromkeys((*_queue_names(subject), *_chosen(subject))))
    for name in names:
        if name not in consumed:
            yield fault(f"no worker consumes {name}: what is in it waits for ever.", f"celery worker -Q {name}")
    if not set(names) - consumed:
        yield ok(f"each has a worker: {', '.join(names)}.")


def _queue_names(subject: Subject) -> list[str]:
    try:
        subject.file_types.get()
        return queue_names()
    except Exception as error:
        raise NotExaminedError("the file types") from error


def _chosen(subject: Subject) -> list[str]:
    """The queues of live requests that were moved to another than their type's first one."""
    moved = select(FileRequest.queue).where(FileRequest.state.in_(LIVE), FileRequest.queue.is_not(None)).distinct()
    try:
        with subject.record.reading() as session:
            return sorted(filter(None, session.scalars(moved)))
    except NotExaminedError:  # the types' own queues can be told nevertheless
        return []


def clocks_check(subject: Subject) -> Iterator[Finding]:
    """Whether this machine, the database and the workers have the same time."""
    skews = {name: skew for name, skew in _skews(subject).items() if abs(skew) > DOUBTFUL}
    for name, skew in sorted(skews.items()):
        say = fault if abs(skew) > WRONG else warning
        how = "ahead of" if skew > 0 else "behind"
        yield say(f"the clock of {name} is {abs(skew):.0f} s {how} this machine's.", SYNCHRONISE)
    if not skews:
        yield ok("they agree.")


def _skews(subject: Subject) -> dict[str, float]:
    """Whichever of the two answers; where none does, there is nothing to compare."""
    found: dict[str, float] = {}
    try:
        found["the database"] = _of_the_database(subject)
    except NotExaminedError:
        found |= subject.workers.skews
        return found
    try:
        return found | subject.workers.skews
    except NotExaminedError:
        return found


def _of_the_database(subject: Subject) -> float:
    skews = []
    with subject.record.reading() as session:
        for _ in range(3):
            asked = time.time()
            said = session.execute(select(type_coerce(later(), UtcDateTime))).scalar_one()
            skews.append(said.timestamp() - (asked + time.time()) / 2)
    return statistics.median(skews)


CHECKS = (
    Check("workers", "what the workers see", workers_check),
    Check("queues", "who consumes them", queues_check),
    Check("clocks", "whether they agree", clocks_check),
)
