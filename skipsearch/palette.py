"""The colours of classes in masks: those of the PASCAL VOC challenge, which many viewers know."""

from __future__ import annotations

VALUES = 256  # class numbers of a palette image


def class_colour(number: int) -> tuple[int, int, int]:
    """Return red, green and blue, in 0..255, of a class number from 0 to 255.

    The three lowest bits of the number are the highest bits of the channels, the next three those
    below them, and so on (Everingham et al. 2010, doi:10.1007/s11263-009-0275-4, development kit,
    VOClabelcolormap).
    """
    colour = [0, 0, 0]
    for shift in range(7, -1, -1):
        for channel in range(3):
            colour[channel] |= (number >> channel & 1) << shift
        number >>= 3
    red, green, blue = colour
    return red, green, blue


def flat_palette() -> list[int]:
    """Return the colours of all class numbers, one after the other, as palette images hold them."""
    return [channel for number in range(VALUES) for channel in class_colour(number)]
