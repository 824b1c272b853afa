"""The configuration of ``confirm``: the contents of ``confirm.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from skipsearch.errors import RunError
from skipsearch.text import parse_yaml, read_text


@dataclass(frozen=True)
class ConfirmConfig:
    """The configuration of ``confirm``: the contents of ``confirm.yaml``.

    Attributes:
        leaders: Designs that are trained again, as ``DESIGN-RECIPE``.
        seeds: Maximum number of new seeds.
    """

    leaders: tuple[str, ...]
    seeds: int

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``confirm.yaml``.

        Raises:
            RunError: If the file is damaged.
        """
        values = parse_yaml(read_text(path, RunError), str(path), RunError)
        leaders, seeds = values.get("leaders"), values.get("seeds")
        if not isinstance(leaders, list) or not all(isinstance(key, str) for key in leaders):
            raise RunError(f"{path.name}: leaders is no list of designs")
        if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 2:
            raise RunError(f"{path.name}: seeds: {str(seeds)[:60]!r} is not a whole number from 2")
        return cls(tuple(leaders), seeds)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"leaders": list(self.leaders), "seeds": self.seeds}
