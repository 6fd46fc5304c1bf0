"""How ``celery flower`` starts where this file is.

Flower's pages and its ``/metrics`` are open to everybody who reaches them, and its buttons stop workers and tasks: it
listens for this machine alone. The README's "Flower" says how to let others in.
"""

from __future__ import annotations

address = "127.0.0.1"

# Which file it is: a step's argument is shown as <flights 3f2a9c1b #2>, the type, the request and its fence.
tasks_columns = "name,args,state,result,received,runtime,worker,uuid"
