"""Main memory for images."""

from skipsearch.errors import DataError
from skipsearch.ram import available_ram

GIB = 2**30


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
