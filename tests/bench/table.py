"""The table on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.bench.races import Limit, Race

COLUMNS = "{:44} {:>10} {:>9} {:>10} {:>10}  {}"
HEADINGS = ("way", "median", "x first", "peak MiB", "grown MiB", "limits of ours")


def print_all(races: Iterable[Race]) -> int:
    """Print the races; the exit code, 1 if a limit is broken."""
    return max([print_one(race) for race in races], default=0)


def print_one(race: Race) -> int:
    """Print one race; the exit code."""
    rows = f", {race.rows:,} rows" if race.rows else ""
    print(f"\n{race.title}{rows}\n{COLUMNS.format(*HEADINGS)}")
    for line in _lines(race):
        print(line, flush=True)
    return int(not race.is_fine)


def seconds(value: float | None) -> str:
    """A time, in the unit that suits it."""
    if value is None:
        return "-"
    return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.2f} s"


def verdict(race: Race, limit: Limit) -> str:
    """What was found, the limit, and whether it is kept."""
    found = race.found(limit)
    if found is None:
        return f"{limit}: not measured"
    shown = f"{found:.2f}" if limit.other and not limit.more else f"{found:.1f}"
    return f"{shown} {limit}: {'ok' if race.fits(limit) else 'TOO MUCH'}"


def _lines(race: Race) -> Iterator[str]:
    for way in race.ways:
        limits = "; ".join(verdict(race, limit) for limit in race.limits if limit.way == way)
        first = next(iter(race.ways))
        yield COLUMNS.format(
            way,
            seconds(race.middle(way)),
            _number(race.ratio(way, first), 2),
            _number(race.middle(way, "peak")),
            _number(race.middle(way, "grown")),
            limits,
        ).rstrip()
    yield from (f"{way:44} not measured: {why}" for way, why in race.missing.items())


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
