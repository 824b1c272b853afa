"""Main memory for images."""

import os

import torch

from skipsearch.errors import DataError
from skipsearch.ram import available_ram

GIB = 2**30
READ = "read from there during training"


def shown_bytes(number: float) -> str:
    """Return a number of bytes as text."""
    return f"{number / GIB:,.1f} GiB" if number >= GIB / 10 else f"{number / 2**20:,.1f} MiB"


def memory_share() -> float:
    """Return the number of bytes that images may take in memory.

    A search has a copy of the images in its own process, one in Ray's store, and one in each
    worker, of which there is at most one for each core.
    """
    return available_ram() / (2 + len(os.sched_getaffinity(0)))


def is_resident(size: float, in_memory: bool | None) -> bool:
    """Return whether images are held in memory.

    Args:
        size: Number of their bytes.
        in_memory: Requested place; None for memory if they fit into its share.
    """
    return size <= memory_share() if in_memory is None else in_memory


def placed(size: float, where: object, in_memory: bool | None) -> str:
    """Describe images that stay in a file.

    Args:
        size: Number of their bytes.
        where: Path of the file or folder.
        in_memory: Requested place; None if their size is the reason.
    """
    said = f"{shown_bytes(size)} in {where}, {READ}"
    if in_memory is None:
        said += f" (more than their share of memory, {shown_bytes(memory_share())})"
    return said


def moved(place: str, device: torch.device, mapped: bool, room: float) -> str:
    """Describe images that were in a file, after a change of the device.

    Args:
        place: Description before the change.
        device: Device of the batches.
        mapped: Whether they stay in the file.
        room: Share of the device's memory for images in bytes.
    """
    where = place.partition(f", {READ}")[0]
    if not mapped:
        return f"{where}, copied to {device}"
    if device.type == "cpu":
        return f"{where}, {READ}"
    return (
        f"{where}, {READ} and copied to {device} batch by batch (more than their share of its"
        f" memory, {shown_bytes(room)})"
    )


def require_memory(needed: float, where: str, remedy: str) -> None:
    """Check that there is enough main memory before it is allocated.

    Args:
        needed: Number of required bytes.
        where: Description of the data that require them, for the message.
        remedy: Advice to the user, for the message.

    Raises:
        DataError: If fewer bytes are available.
    """
    available = available_ram()
    if needed > available:
        raise DataError(
            f"{where} need {needed / GIB:,.1f} GiB of memory, and {available / GIB:,.1f} GiB are "
            f"available: {remedy}"
        )
