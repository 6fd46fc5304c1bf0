"""The results as a picture: SVG, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT = 760, 270, 150  # pixels: of all, of the names, of the figures
BAR, GAP, TITLE = 16, 6, 34  # pixels
MOST = WIDTH - LEFT - RIGHT
STYLE = """
    text { font: 12px system-ui, sans-serif; fill: #24292f; }
    .title { font-weight: 600; font-size: 13px; }
    .note { fill: #57606a; }
    .ours { fill: #1a7f37; }
    .other { fill: #8c959f; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .note { fill: #9198a1; }
      .ours { fill: #3fb950; }
      .other { fill: #6e7681; }
    }
"""


def drawn(races: Sequence[dict[str, Any]], note: str) -> str:
    """The picture of races, as their JSON has them: a bar for each way's median.

    :param note: the line at the bottom.
    """
    parts, top = [], 4
    for race in races:
        parts += [_text(0, top + 16, _title(race), "title"), *_bars(race["ways"], top + TITLE - 8)]
        top += TITLE + len(race["ways"]) * (BAR + GAP)
    parts.append(_text(0, top + 16, note, "note"))
    size = f'width="{WIDTH}" height="{top + 26}" viewBox="0 0 {WIDTH} {top + 26}"'
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        f"  <title>How long exports take</title>\n  <style>{STYLE}  </style>\n  {body}\n</svg>\n"
    )


def _title(race: dict[str, Any]) -> str:
    return f"{race['title']}, {race['rows']:,} rows" if race["rows"] else str(race["title"])


def _bars(ways: dict[str, dict[str, Any]], top: int) -> Iterator[str]:
    slowest = max(way["seconds"] for way in ways.values())
    for number, (name, way) in enumerate(ways.items()):
        y = top + number * (BAR + GAP)
        length = max(2.0, MOST * way["seconds"] / slowest)
        kind = "ours" if name.startswith("bgtasks") else "other"
        yield f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
        yield f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>'
        yield _text(LEFT + length + 6, y + 12, _figures(way), "note")


def _figures(way: dict[str, Any]) -> str:
    taken = way["seconds"]
    shown = f"{taken * 1000:.0f} ms" if taken < 0.1 else f"{taken:.1f} s" if taken < 100 else f"{taken:.0f} s"
    return f"{shown}, {way['peak_mib']:,.0f} MiB" if way["peak_mib"] else shown


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}">{escape(text)}</text>'
