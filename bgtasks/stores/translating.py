"""obstore's errors, and the operating system's, as ours."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

from obstore.exceptions import BaseError

from bgtasks.errors import BgtasksError, ImproperlyConfigured, ObjectMissing, StoreFull, TransientError

#: A disk is full, or what one may use of it.
FULL = errno.ENOSPC, errno.EDQUOT
#: How obstore words that.
_FULL = re.compile(rf"os error ({'|'.join(map(str, FULL))})\b")
#: What obstore raises where it stumbles, as over credentials that no header can hold. No ``Exception``, and nowhere to
#: be imported from.
_PANIC = "PanicException"
UNUSABLE = (
    "The file store can't be used with these credentials and options: look for a line break or another character that "
    "is not printable"
)


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
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise ImproperlyConfigured(UNUSABLE) from None  # what it says may show them
