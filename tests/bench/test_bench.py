"""The benchmark itself, with files so small that nothing is measured: that it runs, and what it makes of figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench import __main__ as bench
from tests.bench import (
    chain,
    data,
    growth,
    once,
    parts,
    parts_turns,
    plot,
    results,
    servers,
    serving,
    table,
    turns,
    workers,
    writing,
)
from tests.bench.memory import MIB
from tests.bench.parts_turns import ONE_WORKER, ONE_WRITER, SKEWED, SKEWED_WRITER, TWO_WORKERS, Turn
from tests.bench.peers import PeerMissing
from tests.bench.races import Limit, Race, Sample
from tests.bench.turns import Way
from tests.conftest import new_postgresql, new_sqlite
from tests.support.services import missing

ROWS = 1000


@pytest.fixture
def env(postgres: str, tmp_path: Path) -> dict[str, str]:
    """A database with the tables, and a folder for files."""
    url = new_postgresql(postgres)
    data.fill_postgresql(url, once.WARM, ROWS)
    return writing.env(url, tmp_path)


def ways(*ours: str) -> list[Way]:
    """Some of our own, by their keys."""
    return [Way(key, writing.OURS, key) for key in ours]


def race(title: str = "a race", limits: tuple[Limit, ...] = ()) -> Race:
    """Two rounds: ours took 1 and 3 seconds while the other took 2 and 4."""
    made = Race(title, ROWS, limits)
    for ours, other in ((1.0, 2.0), (3.0, 4.0)):
        made.add("bgtasks", Sample(ours, 100, 60, 7))
        made.add("another", Sample(other, 50, 45, 7))
    return made


def test_every_road_of_csv_writes_the_same_number_of_bytes(env: dict[str, str]) -> None:
    """Otherwise its race is none."""
    made = turns.race(Race("CSV", ROWS), ways("csv", "csv-tuples", "csv-bound"), 1, env)
    assert not made.missing
    sizes = {samples[0].size for samples in made.ways.values()}
    assert len(sizes) == 1
    assert sizes.pop() > 100 * ROWS


def test_the_bare_pipelines_write_the_same_rows(env: dict[str, str]) -> None:
    """All of them, in each format."""
    found = Path(env["BENCH_FOLDER"]) / "bare"
    for module, key, lines in (
        (writing.ARROW, "csv", 1 + ROWS),
        (writing.ARROW, "parquet", None),
        (writing.TUPLES, "csv", 1 + ROWS),
        (writing.TUPLES, "jsonl", ROWS),
        (writing.TUPLES, "xlsx", None),
    ):
        sample = Way(key, module, key).go(ROWS, env)
        contents = found.read_bytes()
        assert sample.size == len(contents)
        assert sample.seconds is not None
        assert sample.peak is not None
        if lines:
            in_notes = sum((row[-1] or "").count("\n") for row in data.sample(ROWS))
            assert contents.count(b"\n") == lines + (in_notes if key == "csv" else 0)


def test_the_rows_are_the_same_ones_each_time() -> None:
    """With all that makes texts awkward."""
    rows = list(data.sample(ROWS))
    assert rows == list(data.sample(ROWS))
    notes = [row[-1] for row in rows]
    assert None in notes
    for awkward in ('"', "\n", "\t", "=", "-2", "日本語"):
        assert any(awkward in (note or "") for note in notes), awkward


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    """A round in which the machine was slow counts like the others."""
    assert race().ratio("bgtasks", "another") == pytest.approx((0.5 + 0.75) / 2)
    assert race().middle("bgtasks") == 2
    assert race().middle("bgtasks", "grown") == 40


@pytest.mark.parametrize(
    ("limit", "fits"),
    [
        (Limit("bgtasks", "another", 0.7), True),
        (Limit("bgtasks", "another", 0.6), False),
        (Limit("bgtasks", None, 40, "grown"), True),
        (Limit("bgtasks", None, 39, "grown"), False),
        (Limit("bgtasks", "another", 50, "peak", more=True), True),
        (Limit("bgtasks", "another", 49, "peak", more=True), False),
        (Limit("nobody", "another", 100), False),
    ],
)
def test_a_broken_limit_is_seen(limit: Limit, fits: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """In the exit code, on the terminal, and in what is kept; what was not measured keeps no limit."""
    made = race(limits=(limit,))
    assert table.print_all([race(), made]) == int(not fits)
    if limit.way == "bgtasks":
        assert ("TOO MUCH" in capsys.readouterr().out) is not fits
    assert made.as_json()["limits"][0]["ok"] is fits


def test_a_missing_peer_breaks_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, and the others go on."""

    def go(way: Way, rows: int, env: dict[str, str]) -> Sample:
        if way.name == "peer":
            raise PeerMissing("it can't be installed")
        return Sample(1.0)

    monkeypatch.setattr(Way, "go", go)
    made = turns.race(
        Race("a race", ROWS, (Limit("ours", "peer", 1),)), [Way("ours", "", ""), Way("peer", "", "")], 2, {}
    )
    assert len(made.ways["ours"]) == 2
    assert made.is_fine
    assert table.print_one(made) == 0
    assert "it can't be installed" in capsys.readouterr().out


def test_a_way_that_fails_is_no_success(env: dict[str, str]) -> None:
    """The bench ends with 1, and says what it was."""
    made = turns.race(Race("a race", ROWS), [Way("ours", writing.OURS, "no such way")], 1, env)
    assert "KeyError" in made.missing["ours"]
    assert not made.is_fine


def test_growth_is_held_to_the_smallest_file() -> None:
    """Per row, by the best of the rounds."""
    first = growth.Line("CSV", 100, [Sample(2.0, 50), Sample(1.0, 40)])
    assert growth.Line("CSV", 1000, [Sample(10.9, 41), Sample(99.0, 90)], first).fits
    assert not growth.Line("CSV", 1000, [Sample(11.1, 41)], first).fits
    assert not growth.Line("CSV", 1000, [Sample(10.0, 43)], first).fits


def test_the_results_are_kept_with_a_picture(tmp_path: Path) -> None:
    """Which is XML, has a bar for each way, and no limit to what a name may be."""
    found: dict[str, Any] = results.gathered([race(writing.CSV.title), race("<another> & more")], True, 12.3)
    results.save(found, tmp_path)
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["races"][0]["ways"]["bgtasks"]["rounds"] == [1.0, 3.0]
    ElementTree.parse(tmp_path / "results.svg")
    picture = plot.drawn(kept["races"], "a < b")
    assert picture.count("<rect") == 4
    assert "| bgtasks | 2.00 s | 100 MiB |" in (tmp_path / "results.md").read_text()


def test_a_chain_and_a_child_are_measured(tmp_path: Path) -> None:
    """Turn by turn with the empty tasks, in one worker."""
    url = new_sqlite(tmp_path)
    data.fill_sqlite(tmp_path / "bgtasks.db", 10, once.WARM)
    with servers.deployment(tmp_path / "deployment", url) as parts:
        worker = servers.worker(parts)
        made = chain.race("a chain", parts, times=2, warm=0)
        grown = workers.sample(parts, worker, "csv", once.WARM)
    assert {way: len(samples) for way, samples in made.ways.items()} == dict.fromkeys(
        (chain.READY, chain.TOLD, chain.EMPTY), 2
    )
    assert grown.size
    assert grown.grown is not None


def test_a_file_in_parts_is_measured(tmp_path: Path) -> None:
    """By two workers, by one, by one writer, and with a skewed key, which a log tells of; each makes the same bytes."""
    parts.fill_sqlite(path := tmp_path / "source.db", ROWS)
    found = parts.measured(tmp_path, "SQLite", f"sqlite:///{path}", ROWS, 1, has_limit=False)
    assert {way: turn.parts for way, [turn] in found.turns.items()} == {
        ONE_WRITER: 0,
        ONE_WORKER: parts_turns.PARTS,
        TWO_WORKERS: parts_turns.PARTS,
        SKEWED_WRITER: 0,
        SKEWED: 2,
    }
    assert not list(found.faults())
    _, headings, *printed = parts.lines(found)
    assert " ".join(headings.split()) == "best s planning joining parts peak MiB cores busy others"
    for way, [turn] in found.turns.items():
        [line] = (line for line in printed if line.startswith(f"{way.name}  "))
        _, planning, joining, _, first, second, *_ = line.removeprefix(way.name).split()
        assert (planning, joining) == (f"{turn.planning:.2f}", f"{turn.joining:.2f}")
        assert (first, second) == tuple(f"{peak:.0f}" for peak in turn.peaks)  # of each worker's child
        assert min(turn.planning, turn.joining, *turn.peaks) > 0
    assert "the files are the same, to the last byte" in printed


@pytest.mark.parametrize(
    ("seconds", "sha256", "is_told", "faults"),
    [(5.0, "a", True, 0), (6.25, "a", True, 0), (6.5, "a", True, 1), (5.0, "b", True, 1), (5.0, "a", False, 1)],
)
def test_parts_that_are_slow_or_make_another_file_are_seen(
    seconds: float, sha256: str, is_told: bool, faults: int
) -> None:
    """One worker took 10 seconds, and the limit is 1.6."""
    found = parts.Found("SQLite", ROWS, has_limit=True, is_told=is_told)
    for way, took, digest in ((ONE_WRITER, 9.0, "a"), (ONE_WORKER, 10.0, "a"), (TWO_WORKERS, seconds, sha256)):
        found.turns[way] = [Turn(took, 0, 0, 0, [], 0, 0, 1, digest)]
    assert len(list(found.faults())) == faults


def test_downloads_are_measured(tmp_path: Path) -> None:
    """Each way sends the whole file."""
    if not Path(serving.NGINX).exists():
        missing("nginx")
    for made in serving.races(tmp_path, MIB, 1):
        assert made.ways
        assert {samples[0].size for samples in made.ways.values()} == {MIB}


def test_every_part_has_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """What --help names is there."""
    with pytest.raises(SystemExit):
        bench.main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in bench.PARTS)
