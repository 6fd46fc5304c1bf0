"""The results as the table that the README shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

HEAD = ("| | median | peak of the process | limit of ours |", "|---|---|---|---|")


def written(found: dict[str, Any]) -> str:
    """A table of all races, with what made it."""
    machine = found["machine"]
    made = f"`{found['command']}`, {found['date']}, {machine['cores']} cores ({machine['cpu']}), {machine['gib']} GiB:"
    lines = [line for race in found["races"] for line in _lines(race)]
    return "\n".join([made, "", *HEAD, *lines]) + "\n"


def _lines(race: dict[str, Any]) -> Iterator[str]:
    rows = f", {race['rows']:,} rows" if race["rows"] else ""
    yield f"| **{race['title']}{rows}** | | | |"
    for name, way in race["ways"].items():
        limits = "; ".join(
            f"{limit['found']:g} {limit['limit']}{'' if limit['ok'] else ' (missed)'}"
            for limit in race["limits"]
            if limit["way"] == name and limit["found"] is not None
        )
        yield f"| {name} | {_seconds(way['seconds'])} | {_mib(way['peak_mib'])} | {limits} |"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.0f} ms" if value < 0.2 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _mib(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} MiB"
