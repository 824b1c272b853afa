"""Names of folders and arrays, in any usual spelling -> splits."""

from __future__ import annotations

import re

# All words that mean a split.
SPLITS = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "val", "valid", "validate", "dev", "development"),
    "test": ("test", "testing", "tst"),
}
# Words that may surround it, as in training_set, TestData, images-val.
FILLERS = ("data", "set", "images?", "imgs?", "pictures?", "photos?", "split", "samples?", "folder")

_MEANING = {word: split for split, words in SPLITS.items() for word in words}
_FILLER = f"(?:{'|'.join(FILLERS)})*"
_NAME = re.compile(f"{_FILLER}({'|'.join(_MEANING)}){_FILLER}")


def split_of(name: str) -> str | None:
    """Return the split that a name means: train, validation, test, or None.

    Case, blanks, hyphens, underscores and dots make no difference.
    """
    found = _NAME.fullmatch(re.sub(r"[\s_.-]+", "", name.casefold()))
    return _MEANING[found[1]] if found else None


def splits_within(name: str) -> set[str]:
    """Return the splits that a name contains among other words, such as ``seg_train2``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    words = re.findall(r"[^\W\d_]+", spaced)
    return {_MEANING[word] for word in words if word in _MEANING}
