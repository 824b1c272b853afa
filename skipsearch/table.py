"""One table per concept, with an entry for each of its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeVar

from skipsearch.errors import unknown_word

Entry = TypeVar("Entry")


class Table(dict[str, Entry]):
    """A dict of the entries of a concept, by word, with an error of its own for unknown words.

    Args:
        concept: Name of the concept, such as ``merge``.
        entries: Entry of each word.

    Raises:
        UnknownWordError: If an unknown word is looked up.
    """

    def __init__(self, concept: str, entries: Mapping[str, Entry]) -> None:
        super().__init__(entries)
        self.concept = concept

    def __missing__(self, word: str) -> NoReturn:
        raise unknown_word(self.concept, word)
