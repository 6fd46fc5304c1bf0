"""obstore's errors, and the operating system's, as ours."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

from obstore.exceptions import BaseError

from bgtasks.errors import BgtasksError, ObjectMissing, StoreFull, TransientError

#: A disk is full, or what one may use of it.
FULL = errno.ENOSPC, errno.EDQUOT
#: How obstore words that.
_FULL = re.compile(rf"os error ({'|'.join(map(str, FULL))})\b")


@contextlib.contextmanager
def translated(missing: type[BgtasksError] = ObjectMissing) -> Iterator[None]:
    """:param missing: what it is if something is not there."""
    try:
        yield
    except (BaseError, OSError) as error:
        if isinstance(error, FileNotFoundError) and missing is not TransientError:
            raise missing from error
        if getattr(error, "errno", None) in FULL or _FULL.search(str(error)):
            raise StoreFull from error
        raise TransientError("The file store does not answer just now.") from error
