"""One table a concept: what belongs to each of its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeVar

from skipsearch.errors import unknown_word

Entry = TypeVar("Entry")


class Table(dict[str, Entry]):
    """The entries of a concept by their words, which refuses a word that it does not know.

    Args:
        concept: What a word stands for, such as ``merge``.
        entries: What belongs to each word.

    Raises:
        UnknownWordError: Where an unknown word is looked up.
    """

    def __init__(self, concept: str, entries: Mapping[str, Entry]) -> None:
        super().__init__(entries)
        self.concept = concept

    def __missing__(self, word: str) -> NoReturn:
        raise unknown_word(self.concept, word)
