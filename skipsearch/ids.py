"""Ids: hashes of the contents of designs and recipes."""

from __future__ import annotations

from hashlib import blake2b


def hashed(content: str) -> str:
    """Return a hash of a text: sixteen hexadecimal digits, 64 bits.

    The first ten digits are the whole id of earlier versions, so that their ids are still found.
    """
    text = content.encode()
    return blake2b(text, digest_size=5).hexdigest() + blake2b(text, digest_size=3).hexdigest()


def is_meant(key: str, name: str) -> bool:
    """Return whether an id starts with the given digits.

    An id of an earlier version also matches, since it is the first ten digits.

    Args:
        key: Id as ``DESIGN`` or ``DESIGN-RECIPE``.
        name: First digits, with a ``-`` between those of the design and those of the recipe.
    """
    (design, _, recipe), (first, _, second) = key.partition("-"), name.partition("-")
    return bool(first) and design.startswith(first) and recipe.startswith(second)
