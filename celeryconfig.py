"""Every setting of the reference deployment, each with its reason.

Celery finds this module in the working directory: ``celery worker``, ``celery beat`` and
``celery flower`` need no ``-A`` here. Environment variables named like a ``bgtasks_`` setting, in
capitals, override it; CELERY_BROKER_URL and CELERY_RESULT_BACKEND are Celery's own.
"""

from __future__ import annotations

from beat_schedule import beat_schedule

__all__ = ["beat_schedule"]

# -- what runs ------------------------------------------------------------------------------------

# The library's tasks, and one module for each file type.
imports = ("bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps", "tasks.flights", "tasks.login_events")

broker_url = "redis://127.0.0.1:6379/0"
result_backend = "redis://127.0.0.1:6379/1"

# -- messages -------------------------------------------------------------------------------------

# Whoever can publish pickle can run code in a worker.
accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"

# A message without a queue of its own is ours: what nobody consumes would wait for ever.
task_default_queue = "bgtasks"

# Acknowledge early, and let the table recover: with late acknowledgement Redis runs a long task again
# each time that visibility_timeout passes, and a worker exits when its broker restarts.
task_acks_late = False

# A worker takes a message when a slot is free, not before: nothing waits behind a long export while
# another worker is idle. (The first is for Redis; RabbitMQ has the second alone.)
worker_disable_prefetch = True
worker_prefetch_multiplier = 1

# Requests that have been started go first. RabbitMQ wants this at the queue's declaration.
task_queue_max_priority = 10
broker_transport_options = {
    # Redis: among messages of one priority the queues take turns. With "priority" a type's backlog would keep those
    # waiting whose queues are named later.
    "queue_order_strategy": "round_robin",
    # A web process whose broker is away or silent must know within a second: the row is there, and its
    # message is sent later. (Seconds. Workers wait for longer: bgtasks sees to that when one starts.)
    "socket_connect_timeout": 0.4,
    "socket_timeout": 0.4,
    # The same for RabbitMQ, which says that it has a message only if it is asked to. Each broker leaves the
    # other's options alone.
    "connect_timeout": 0.4,
    "read_timeout": 0.4,
    "write_timeout": 0.4,
    "confirm_publish": True,
    "max_retries": 1,
}
task_publish_retry_policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
broker_pool_acquire_timeout = 1

# A worker goes on when its broker comes back, at its start and later.
broker_connection_retry_on_startup = True

# -- results --------------------------------------------------------------------------------------

# The steps leave their outcome on the row. request_file alone has a result, for whoever waits for it.
task_ignore_result = True
# Seconds. Nobody waits for longer than this after a request has ended.
result_expires = 3600

# Seconds. Whoever ends a request stores its result, a web process that cancels one too: a Redis that is silent keeps
# nobody for longer. (Celery would wait for two minutes.)
redis_socket_connect_timeout = 1
redis_socket_timeout = 1

# -- monitoring -----------------------------------------------------------------------------------

# What Flower shows comes from these events. They carry ids and fences, never arguments.
worker_send_task_events = True
task_send_sent_event = True

# -- stopping -------------------------------------------------------------------------------------

# A worker that is told to stop (SIGTERM) takes no new work, and has so many seconds to finish what it does. What
# is not finished then is handed back, and another worker goes on with it at once. It takes the environment variable
# REMAP_SIGTERM=SIGQUIT: without it Celery waits for its tasks until it is killed. The platform must grant more than
# these seconds (Docker grants 10, Kubernetes 30).
worker_soft_shutdown_timeout = 5

# A child is replaced when it has grown, before it meets the machine's limit. Kilobytes.
worker_max_memory_per_child = 400_000

# -- bgtasks --------------------------------------------------------------------------------------

bgtasks_database_url = "sqlite:///var/bgtasks.db"
bgtasks_store_url = "var/files"

# bgtasks_default_key has no default: set BGTASKS_DEFAULT_KEY in the environment of workers and web
# processes. `make demo` and `make dev` make one of their own under var/.

# Links begin with this; it is never taken from a request.
bgtasks_base_url = "http://127.0.0.1:8000"

bgtasks_smtp_url = "smtp://127.0.0.1:25"
bgtasks_from_email = "bgtasks <exports@example.com>"
