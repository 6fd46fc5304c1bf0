"""``celery bgtasks check``: examines a deployment from here, and says how to mend what is wrong.

The checks go on at the same time, each in a thread of its own that nobody waits for beyond its limit: whatever
hangs, and whatever fails, is told as a finding of the check that it belongs to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import replace

from celery import Celery

from bgtasks.doctor import configuration, services, telling, work, workers
from bgtasks.doctor.findings import Check, Finding, Level, NotExaminedError, Result, fault, why
from bgtasks.doctor.subject import Subject
from bgtasks.errors import ImproperlyConfigured

__all__ = ["CHECKS", "LIMIT", "Finding", "Level", "Result", "Subject", "examine"]

#: How long each check may take. Seconds.
LIMIT = 5.0
#: What to do where a check does not come to its own findings.
HANGS = "see what hangs: a service that takes connections and answers nothing, or a network folder without its server"
MISTAKEN = "mend it in the app's configuration, in the environment, or in the file type's class"
FAILED = "mend it if the error is in a module of yours; otherwise report it as a bug of bgtasks, with this line"
CHECKS = (*configuration.CHECKS, *services.CHECKS, *telling.CHECKS, *workers.CHECKS, *work.CHECKS)


def examine(app: Celery, only: Collection[str] = (), mail: str | None = None) -> Iterator[Result]:
    """The results, in the order of ``CHECKS``, each as soon as it is there.

    :param only: the names of the checks; none: all of them.
    :param mail: where a test mail is sent to.
    """
    subject = Subject(app, mail)
    running = [_Running(check, subject) for check in CHECKS if not only or check.name in only]
    for one in running:
        yield one.result()


class _Running:
    def __init__(self, check: Check, subject: Subject) -> None:
        self._check, self._subject = check, subject
        self._findings: list[Finding] = []
        self._deadline = time.monotonic() + LIMIT
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"check {check.name}")
        self._thread.start()

    def result(self) -> Result:
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        found = list(self._findings)
        if self._thread.is_alive():
            found.append(fault(f"no answer within {LIMIT:.0f} seconds.", HANGS))
        hide = self._subject.hide
        told = (replace(one, text=hide(one.text), remedy=hide(one.remedy)) for one in found)
        return Result(self._check, tuple(told))

    def _run(self) -> None:
        self._subject.app.set_current()  # Celery's current app is a thread's own
        try:
            for found in self._check.examine(self._subject):
                self._findings.append(found)
        except NotExaminedError as error:
            self._findings.append(Finding(Level.SKIPPED, f"not examined: see {error} first."))
        except ImproperlyConfigured as error:
            self._findings.append(fault(f"{error}.", MISTAKEN))
        except BaseException as error:  # also sys.exit() in a module of a user's, or a panic of a library in Rust
            self._findings.append(fault(f"this check itself has failed: {why(error)}.", FAILED))
