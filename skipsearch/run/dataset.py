"""Loading the data set of a run again."""

from __future__ import annotations

from pathlib import Path

from skipsearch.config import DataConfig
from skipsearch.data import Data, load_data
from skipsearch.errors import DataError, RunError


def load_again(
    run: Path,
    asked: DataConfig,
    device: str,
    data: str | Path | None = None,
    data_root: str | Path | None = None,
) -> Data:
    """Load the data set of a run again, and check that it is the same.

    Args:
        run: Run folder, for messages.
        asked: Configuration of the data set at the search.
        device: Device of the tensors.
        data: Present location of the data; that at the search if None.
        data_root: Folder of the data set's files; that at the search if None.

    Raises:
        RunError: If its images, labels or splits differ from those of the search.
        DataError: If it is missing.
    """
    try:
        images = load_data(
            asked.name if data is None else data,
            root=data_root or asked.root,
            device=device,
            image_size=asked.resized_to,
            split_seed=asked.split_seed,
            denoise=asked.sigma or None,
        )
    except DataError as error:
        moved = "; if they have moved, say where by --data or --data-root"
        raise DataError(f"{error}{'' if data or data_root else moved}") from None
    if images.fingerprint != asked.fingerprint:
        change = "has changed since the search" if data is None else "is not what was searched"
        raise RunError(
            f"{run}: data {data or asked.name} {change}"
            f" (fingerprint {images.fingerprint}, {asked.fingerprint} then)"
        )
    return images
