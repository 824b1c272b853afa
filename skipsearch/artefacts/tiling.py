"""Large images computed in overlapping tiles, blended without visible seams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from skipsearch.defaults import TILE
from skipsearch.errors import ExportError
from skipsearch.plan import Size


class Span(NamedTuple):
    """A tile along one axis, in pixels.

    Attributes:
        start: First pixel.
        end: Pixel after the last.
    """

    start: int
    end: int


def spans(length: int, tile: int) -> list[Span]:
    """Divide an axis into tiles, each of which overlaps the previous one by a quarter of a tile.

    Args:
        length: Number of pixels.
        tile: Number of pixels of a tile; the last may have fewer.
    """
    found = [Span(0, min(tile, length))]
    while found[-1].end < length:
        start = found[-1].end - tile // 4
        found.append(Span(start, min(start + tile, length)))
    return found


def taper(span: Span, length: int, tile: int) -> Tensor:
    """Return the weight (pixels,) of each pixel of a tile along one axis.

    The weights of two tiles add up to 1 in their overlap. In its outer quarter, where a network
    sees the least of the surrounding image, the weight is 0; it rises linearly in the middle half.

    Args:
        span: Tile.
        length: Number of pixels of the axis.
        tile: Number of pixels of a whole tile.
    """
    overlap = tile // 4
    rise = ((torch.arange(overlap) + 0.5) / overlap * 2 - 0.5).clamp(0, 1)
    weight = torch.ones(span.end - span.start)
    if span.start > 0:
        weight[:overlap] = rise
    if span.end < length:
        weight[-overlap:] = rise.flip(0)
    return weight


def side_of_tiles(tile: int | None, halvings: int) -> int:
    """Return the height and width of a tile in pixels.

    Tiles start at multiples of three quarters of a tile. Their levels have the same grid as those
    of the whole image if a quarter of a tile can be halved as often as the network halves images.

    Args:
        tile: Requested side; None for the default, raised to an allowed one.
        halvings: Number of halvings at the deepest level of the network.

    Raises:
        ExportError: If the requested side is not allowed.
    """
    multiple: int = 4 * 2**halvings
    default = -(-TILE // multiple) * multiple
    if tile is None:
        return default
    whole = isinstance(tile, int) and not isinstance(tile, bool)
    if not whole or tile < 1 or tile % multiple:
        nearest = max(1, round(tile / multiple)) * multiple if whole else default
        raise ExportError(
            f"tile: {tile!r} is not a positive multiple of {multiple} pixels, which a network of"
            f" {halvings} halvings requires (nearest: {nearest})"
        )
    return tile


def in_tiles(network: Callable[[Tensor], Tensor], image: Tensor, tile: int) -> Tensor:
    """Compute the outputs of a network for each pixel of an image, tile by tile.

    An image of one tile is computed as a whole. Otherwise, a pixel is the same as in the whole
    image if the network sees no further than a sixteenth of a tile around it, and nearly the same
    if it does. An operation over a whole signal, such as ``se``, covers one tile.

    Args:
        network: Network from images (1, C, H, W) to values (1, outputs, H, W).
        image: Image (C, H, W).
        tile: Height and width of a tile in pixels, see ``side_of_tiles``.

    Returns:
        Outputs (outputs, H, W).
    """
    size = Size(*image.shape[1:])
    if number_of_tiles(size, tile) == 1:
        return network(image[None])[0]
    whole = torch.empty(0)
    for rows, columns in _tiles(size, tile):
        window = image[:, rows.start : rows.end, columns.start : columns.end]
        values = network(window[None])[0]
        if not len(whole):
            whole = torch.zeros(len(values), *size)
        weight = taper(rows, size.height, tile)[:, None] * taper(columns, size.width, tile)
        whole[:, rows.start : rows.end, columns.start : columns.end] += weight * values
    return whole


def number_of_tiles(size: Size, tile: int) -> int:
    """Return the number of tiles of an image."""
    return len(spans(size.height, tile)) * len(spans(size.width, tile))


def _tiles(size: Size, tile: int) -> Iterator[tuple[Span, Span]]:
    for rows in spans(size.height, tile):
        for columns in spans(size.width, tile):
            yield rows, columns
