"""A disk that is full while a file is written to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recovery.scene import Scene
from tests.support.services import missing

MEGABYTE = b"0123456789abcdef" * 65536


@pytest.fixture(scope="module")
def folder(folder: Path) -> Iterator[Path]:
    """The store is a disk of a few megabytes."""
    files = folder / "files"
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", files], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        missing("the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", files], check=True)


def test_a_full_disk(scene: Scene) -> None:
    """What does not fit is handed back and leaves nothing; what fits is made; with more space comes the large file."""
    scene.worker()
    large = scene.ask("large", megabytes=8)
    scene.until(lambda: large.mishaps, "nothing is handed back")
    assert large.row is not None
    assert (large.row.state, large.row.object_key) == ("running", None)
    small = scene.ask("large", megabytes=1)
    scene.until_over([small])
    small.assert_is_served(MEGABYTE)
    assert [key for key in scene.objects() if key.startswith(large.id) and "#" not in key] == []

    subprocess.run(["mount", "-o", "remount,size=64m", scene.store], check=True)
    scene.until_over([large])
    assert large.mishaps.keys() == {"handed_back"}
    large.assert_is_served(MEGABYTE * 8, **large.mishaps)
    scene.assert_nothing_is_orphaned()
