"""The order of the axes of images: the place of the channels, from the shape alone."""

CHANNELS_LAST, CHANNELS_FIRST = "NHWC", "NCHW"

CHANNELS = (1, 3, 4)  # grey, RGB, and RGB with a fourth
MOST = max(CHANNELS)


def axes_of(shape: tuple[int, ...]) -> str | None:
    """Return the order of the axes of images; None if it is ambiguous.

    The axis of the channels is the one with a usual number of channels; if that could be the first
    and the last one, as of tiny images, it is the one beside a square. Any other number of channels
    is accepted if it is the smallest axis and the last one.

    Args:
        shape: Shape of one image with two or three axes.
    """
    if len(shape) == 2:
        return CHANNELS_LAST
    first, middle, last = shape
    if first <= MOST and last <= MOST:
        if first == middle != last and last in CHANNELS:
            return CHANNELS_LAST
        return CHANNELS_FIRST if first != middle == last and first in CHANNELS else None
    if first <= MOST:
        # A patch with many channels is a square, and a long signal has one row, (N, 1, 500, 6).
        could_be_last = first == middle or (first == 1 and middle >= 8 * last)
        return CHANNELS_FIRST if first in CHANNELS and not could_be_last else None
    if last <= MOST and middle == last:
        return None  # a square with many channels
    return CHANNELS_LAST if last in CHANNELS or last < min(first, middle) else None
