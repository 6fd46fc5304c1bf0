"""What the kernel says of a process's memory, on Linux (proc(5))."""

from __future__ import annotations

from pathlib import Path

MIB = 1024 * 1024


def now(pid: int | str = "self") -> float:
    """MiB that are resident."""
    return _status(pid, "VmRSS")


def peak(pid: int | str = "self") -> float:
    """MiB that were resident at most, since the process began or was told to forget."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int | str = "self") -> None:
    """From now on the peak starts anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def shares(pid: int) -> dict[str, float]:
    """MiB: all that is resident (RSS), with its part of what is shared (PSS), and what is its own (USS)."""
    kib: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        kib[name.rstrip(":")] = int(value)
    return {
        "RSS": kib["Rss"] / 1024,
        "PSS": kib["Pss"] / 1024,
        "USS": (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024,
    }


def _status(pid: int | str, what: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024
