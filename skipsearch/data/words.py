"""Recognition of splits, and of images and masks, by the usual names of folders."""

from __future__ import annotations

import re

# All words that mean a split.
SPLITS = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "val", "valid", "validate", "dev", "development"),
    "test": ("test", "testing", "tst"),
}
# Words that may surround the name of a split, as in training_set, TestData, images-val.
FILLERS = ("data", "set", "images?", "imgs?", "pictures?", "photos?", "split", "samples?", "folder")

# All words that mean one half of the pairs of segmentation.
HALVES = {
    "images": (
        "image",
        "images",
        "img",
        "imgs",
        "picture",
        "pictures",
        "photo",
        "photos",
        "frames",
    ),
    "masks": (
        *("mask", "masks", "label", "labels", "annotation", "annotations", "annot", "annots"),
        *("segmentation", "segmentations", "groundtruth", "gt", "labelmaps"),
    ),
}

_MEANING = {word: split for split, words in SPLITS.items() for word in words}
_FILLER = f"(?:{'|'.join(FILLERS)})*"
_NAME = re.compile(f"{_FILLER}({'|'.join(_MEANING)}){_FILLER}")
_HALF = {word: half for half, words in HALVES.items() for word in words}
_WORDS = f"(?:{'|'.join(_MEANING)})?"
_PLACE = re.compile(f"({_WORDS})(?:data|set)*({'|'.join(_HALF)})?(?:data|set)*({_WORDS})")


def split_of(name: str) -> str | None:
    """Return the split that a name means: train, validation, test, or None.

    Case, blanks, hyphens, underscores and dots make no difference.
    """
    found = _NAME.fullmatch(_plain(name))
    return _MEANING[found[1]] if found else None


def place_of(name: str) -> tuple[str | None, str | None]:
    """Return the split and the half of pairs that a name means; None for each that it lacks.

    ``images`` is (None, images), ``val_masks`` (validation, masks), and ``Training`` (train, None).
    """
    found = _PLACE.fullmatch(_plain(name))
    if found is None or (found[1] and found[3]):
        return None, None
    return _MEANING.get(found[1] or found[3]), _HALF.get(found[2])


def splits_within(name: str) -> set[str]:
    """Return the splits that a name contains among other words, such as ``seg_train2``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    words = re.findall(r"[^\W\d_]+", spaced)
    return {_MEANING[word] for word in words if word in _MEANING}


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]+", "", name.casefold())
