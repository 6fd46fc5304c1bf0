"""The benchmark's deployment, with the file types that are written in parts."""

from __future__ import annotations

from tests.bench import celeryconfig as bench

globals().update({name: value for name, value in vars(bench).items() if not name.startswith("_")})

imports = (*bench.imports, "tests.bench.parts_types")
