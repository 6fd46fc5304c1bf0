"""The memory of Arrow's arrays.

Arrow's usual allocator (mimalloc) keeps some 40 MiB more of a file that streams through, and the more the longer the
file is: ``make bench-growth`` shows it. Whoever sets ARROW_DEFAULT_MEMORY_POOL has chosen another.
"""

from __future__ import annotations

import contextlib
import os
import sys


def choose() -> None:
    """To be called before pyarrow is imported, which reads it then."""
    if sys.platform == "linux":  # where each build has it; elsewhere Arrow would complain
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")


def release() -> None:
    """Give back what large arrays have left, and keep nothing of the next ones."""
    import pyarrow as pa

    with contextlib.suppress(NotImplementedError):
        pa.jemalloc_set_decay_ms(0)
    for pool in (pa.default_memory_pool(), pa.system_memory_pool()):  # the drivers' own memory is the system's
        pool.release_unused()
