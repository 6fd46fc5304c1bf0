"""Who was how fast: samples of each way, taken turn by turn, and the limits that they are held to."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Measure = Literal["seconds", "peak", "grown"]
#: How a measure is called in the text of a limit.
UNITS: dict[Measure, str] = {"seconds": "s", "peak": "MiB", "grown": "MiB grown"}


@dataclass(frozen=True)
class Sample:
    """One way, once."""

    seconds: float | None = None
    peak: float | None = None  #: MiB of the process that writes, at most
    before: float | None = None  #: MiB of it, when it was ready to begin
    size: int | None = None  #: bytes that were made

    @property
    def grown(self) -> float | None:
        """MiB by which the process has grown."""
        return None if self.peak is None or self.before is None else self.peak - self.before


@dataclass(frozen=True)
class Limit:
    """What a way may need at most."""

    way: str
    other: str | None  #: of what this other way needs; None: by itself
    most: float
    measure: Measure = "seconds"
    more: bool = False  #: whether that much more is meant, and not that many times as much

    def __str__(self) -> str:
        if self.other is None:
            return f"≤ {self.most:g} {UNITS[self.measure]}"
        if self.more:
            return f"≤ {self.other} + {self.most:g} MiB"
        times = f"{self.most:.3g} x" if self.most >= 1 else f"1/{1 / self.most:g} of"
        return f"≤ {times} {self.other}"


@dataclass
class Race:
    """Several ways to do the same."""

    title: str
    rows: int | None = None
    limits: tuple[Limit, ...] = ()
    ways: dict[str, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  #: ways that could not be measured, and why
    failed: bool = False  #: whether one of those should have been

    def add(self, way: str, sample: Sample) -> None:
        """Note what a way has needed."""
        self.ways.setdefault(way, []).append(sample)

    def middle(self, way: str, measure: Measure = "seconds") -> float | None:
        """The median of a way's samples."""
        values = self._values(way, measure)
        return median(values) if values else None

    def ratio(self, way: str, other: str, measure: Measure = "seconds") -> float | None:
        """How many times as much a way needs as another one: the median of the rounds' own ratios."""
        pairs = zip(self._values(way, measure), self._values(other, measure), strict=False)
        ratios = [mine / theirs for mine, theirs in pairs if theirs]
        return median(ratios) if ratios else None

    def found(self, limit: Limit) -> float | None:
        """What is compared with a limit; None, if something was not measured."""
        if limit.other is None:
            return self.middle(limit.way, limit.measure)
        if not limit.more:
            return self.ratio(limit.way, limit.other, limit.measure)
        mine, theirs = self.middle(limit.way, limit.measure), self.middle(limit.other, limit.measure)
        return None if mine is None or theirs is None else mine - theirs

    def fits(self, limit: Limit) -> bool:
        """Whether a limit is kept. One that could not be measured is not."""
        found = self.found(limit)
        return found is not None and found <= limit.most

    @property
    def is_fine(self) -> bool:
        """Whether all limits are kept, but for those against peers that are missing."""
        return not self.failed and all(limit.other in self.missing or self.fits(limit) for limit in self.limits)

    def as_json(self) -> dict[str, Any]:
        """Medians, single rounds and limits."""
        return {
            "title": self.title,
            "rows": self.rows,
            "ways": {way: self._way_as_json(way) for way in self.ways},
            "missing": self.missing,
            "limits": [
                {"way": limit.way, "limit": str(limit), "found": _rounded(self.found(limit)), "ok": self.fits(limit)}
                for limit in self.limits
            ],
        }

    def _way_as_json(self, way: str) -> dict[str, Any]:
        samples = self.ways[way]
        return {
            "seconds": _rounded(self.middle(way)),
            "peak_mib": _rounded(self.middle(way, "peak")),
            "grown_mib": _rounded(self.middle(way, "grown")),
            "bytes": samples[-1].size,
            "rounds": [_rounded(sample.seconds) for sample in samples] if len(samples) < 10 else len(samples),
        }

    def _values(self, way: str, measure: Measure) -> list[float]:
        values = (getattr(sample, measure) for sample in self.ways.get(way, ()))
        return [value for value in values if value is not None]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
