"""No module of the library or the deployment has more than 300 lines."""

from __future__ import annotations

import sys
from pathlib import Path

MOST = 300
ROOT = Path(__file__).parent.parent


def main() -> int:
    """The exit code: 1, if a module is too long."""
    modules = [path for folder in ("bgtasks", "tasks", "beat_schedule") for path in (ROOT / folder).rglob("*.py")]
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in modules}
    long = {path: lines for path, lines in lengths.items() if lines > MOST}
    for path, lines in long.items():
        print(f"{path} has {lines} lines, and {MOST} are the most: what second noun is in it?")
    print(f"{len(lengths)} modules, the longest has {max(lengths.values())} lines")
    return int(bool(long))


if __name__ == "__main__":
    sys.exit(main())
