"""Putting bgtasks into a Celery app: its tasks, the queues of the file types, the sweeps' beat entries."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable
from typing import Any

from celery import Celery
from celery.signals import celeryd_init

from bgtasks import censoring, metrics, queues, registry, routes, settings, sweeps

#: The modules that hold our tasks.
TASKS = ("bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps")
#: How a worker publishes the next link: for half a minute. What fails here waits for the sweep.
PATIENTLY = {"max_retries": 30, "interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
#: The options by which a web process gives up early, and a worker shall not.
HASTY = ("socket_timeout", "connect_timeout", "read_timeout", "write_timeout", "max_retries")


def install(app: Celery, file_types: Iterable[str] = ()) -> None:
    """Add bgtasks to an application's own Celery app. Call it where the app is made, in every process.

    :param file_types: the modules that register file types; imported when a worker starts, or when
        a type is first asked for.
    """
    modules = (*TASKS, *file_types)
    # Celery's current app belongs to the thread that made it: a web server's other threads find the default one.
    app.set_default()

    @app.on_after_configure.connect(weak=False)
    def configure(sender: Celery, **_: Any) -> None:
        sender.conf.imports = tuple(dict.fromkeys((*(sender.conf.imports or ()), *modules)))
        sender.conf.beat_schedule = {**sweeps.schedule(), **(sender.conf.beat_schedule or {})}

    if app.configured:  # type: ignore[attr-defined]
        configure(app)


def queue_names() -> list[str]:
    """Our queue, and those of each registered file type: the first one, and the one for what is heavy."""
    chosen = [routes.known(registry.get(name)()) for name in registry.names()]
    return list(dict.fromkeys([queues.QUEUE, *itertools.chain(*chosen)]))


censoring.hide_secrets()


@celeryd_init.connect(weak=False)
def prepare_worker(conf: Any, **_: Any) -> None:
    """A plain worker consumes our queues too, publishes patiently, and reads its settings before it takes any work."""
    app = settings.this_app()
    if not settings.is_configured(app):
        return
    try:
        configured = settings.current(app)
        queues.consume(app, queue_names())
        metrics.begin_in_worker(configured)
        importlib.import_module("bgtasks.control")  # half a worker comes with it: in workers alone
    except Exception as error:  # Celery logs what a signal's handler raises, and would go on without our queues
        raise SystemExit(f"bgtasks: {error}") from error
    conf.task_publish_retry_policy = PATIENTLY
    options = conf.broker_transport_options or {}
    conf.broker_transport_options = {name: value for name, value in options.items() if name not in HASTY}
