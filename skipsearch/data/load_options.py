"""How data are to be loaded: the arguments of ``load_data`` but the name and the device."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from skipsearch.plan import ImageSize


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Arguments of ``load_data``, which describes them."""

    root: str | Path | None = None
    image_size: ImageSize | None = None
    split_seed: int = 0
    validation_fraction: float | None = None
    download: bool = True
    denoise: float | None = None
    cache: bool = True
    skip_damaged: bool = False
    group_folders: bool = False
    in_memory: bool | None = None

    def arguments(self) -> dict[str, Any]:
        """Return them by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def changed(self) -> list[str]:
        """Return the names of those that are not the defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]
