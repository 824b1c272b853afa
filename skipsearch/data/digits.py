"""scikit-learn's digits, which need no download."""

import numpy as np

from skipsearch.data.stored import Arrays

GREY_LEVELS = 17  # 0..16


def read_digits() -> Arrays:
    """Return the 1,797 digits, (N, 8, 8) uint8, with their grey levels scaled to 0..255."""
    from sklearn.datasets import load_digits  # slower than torch

    digits = load_digits()
    images = np.rint(digits.images * (255 / (GREY_LEVELS - 1))).astype(np.uint8)
    return Arrays({"train": (images, digits.target)}, tuple("0123456789"))
