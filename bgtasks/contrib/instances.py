"""File types, however a view names them."""

from __future__ import annotations

from bgtasks import registry
from bgtasks.file_types import FileType


def instance_of(file_type: FileType | type[FileType] | str) -> FileType:
    """A file type, from itself, its class, or its registered name. Raises: UnknownFileType."""
    named = registry.get(file_type) if isinstance(file_type, str) else file_type
    return named() if isinstance(named, type) else named
