"""The order of the axes of images: the place of the channels, from the shape alone."""

CHANNELS_LAST, CHANNELS_FIRST = "NHWC", "NCHW"

CHANNELS = (1, 3, 4)  # grey, RGB, and RGB with a fourth


def axes_of(shape: tuple[int, ...]) -> str | None:
    """Return the order of the axes of images; None if it is ambiguous.

    Args:
        shape: Shape of one image with two or three axes.
    """
    if len(shape) == 2:
        return CHANNELS_LAST
    first, middle, last = shape
    if last in CHANNELS or first == middle == last:
        return CHANNELS_LAST
    # A long signal of several channels has one row, (N, 1, 500, 6).
    if first in CHANNELS and last > max(CHANNELS) and (first > 1 or middle < 8 * last):
        return CHANNELS_FIRST
    # Any number of channels is accepted if it is the smallest axis and the last one.
    if last < min(first, middle):
        return CHANNELS_LAST
    return None
